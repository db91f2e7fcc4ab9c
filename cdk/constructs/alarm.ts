import { Alarm, type AlarmProps, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch'
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import type { Construct } from 'constructs'

export type AlarmToTopic = Omit<AlarmProps, 'alarmName' | 'alarmDescription'> & {
  readonly topic: ITopic
  /** Fixed: rollbacks refer to their alarms by name. */
  readonly alarmName: string
  /** What is wrong, in one sentence. */
  readonly says: string
  /** A file in docs/runbooks, without its extension. */
  readonly runbook: string
}

/** An alarm that notifies someone, and names the runbook. */
export function alarm(scope: Construct, id: string, props: AlarmToTopic): Alarm {
  const { topic, says, runbook, ...rest } = props
  const made = new Alarm(scope, id, {
    treatMissingData: TreatMissingData.NOT_BREACHING,
    ...rest,
    alarmDescription: `${says} Runbook: docs/runbooks/${runbook}.md`,
  })
  made.addAlarmAction(new SnsAction(topic))
  made.addOkAction(new SnsAction(topic))
  return made
}
