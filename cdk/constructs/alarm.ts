import { Alarm, type AlarmProps, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch'
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import type { Construct } from 'constructs'

export type AlarmToTopic = Omit<AlarmProps, 'alarmName' | 'alarmDescription'> & {
  readonly topic: ITopic
  /** Fixed: what rolls a deployment back knows its alarms by name. */
  readonly alarmName: string
  /** What is wrong, in a sentence. */
  readonly says: string
  /** A file in docs/runbooks, without its ending. */
  readonly runbook: string
}

/** An alarm that tells someone, and tells them where to read what to do. */
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
