import { CfnOutput, RemovalPolicy, Stack } from 'aws-cdk-lib'
import { PolicyStatement, Role } from 'aws-cdk-lib/aws-iam'
import { EmailIdentity, Identity } from 'aws-cdk-lib/aws-ses'
import { Construct } from 'constructs'
import type { MailConfig } from '../config/schema.ts'
import { taskRole } from '../names.ts'
import { ecsTasks } from './ecs-tasks.ts'

export type MailIdentityProps = {
  readonly mail: MailConfig
  /** That of the worker, if it has one. @default - one is made */
  readonly role?: Role | undefined
}

export const sender = ({ sender, domain }: MailConfig): string => `${sender}@${domain}`

/**
 * The domain in whose name SES sends. DNS has to say that it is ours, by records whose names and values are outputs of
 * the stack. The worker sends with its role: there is no password that somebody would have to keep.
 */
export class MailIdentity extends Construct {
  readonly role: Role

  constructor(scope: Construct, id: string, { mail, role }: MailIdentityProps) {
    super(scope, id)
    const identity = new EmailIdentity(this, 'Identity', {
      identity: Identity.domain(mail.domain),
    })
    // Made anew, it would have to be verified again.
    identity.applyRemovalPolicy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
    identity.dkimRecords.forEach(({ name, value }, index) => {
      new CfnOutput(this, `Dkim${index + 1}`, { value: `${name} CNAME ${value}` })
    })
    const worker = 'worker'
    this.role =
      role ??
      new Role(this, worker, {
        roleName: taskRole(worker, Stack.of(this).region),
        assumedBy: ecsTasks(this),
      })
    this.role.addToPolicy(
      new PolicyStatement({
        sid: 'Mails',
        // Both are asked for, for a mail that we have written ourselves.
        actions: ['ses:SendEmail', 'ses:SendRawEmail'],
        resources: [
          Stack.of(this).formatArn({
            service: 'ses',
            resource: 'identity',
            resourceName: mail.domain,
          }),
        ],
        conditions: { StringEquals: { 'ses:FromAddress': sender(mail) } },
      }),
    )
  }
}
