import { type ISecurityGroup, SecurityGroup } from 'aws-cdk-lib/aws-ec2'
import type { Construct } from 'constructs'

/**
 * A group of the network stack as another stack sees it: without a way to add rules, which library
 * constructs would do on their own, across stacks and in a circle.
 */
export const fixedGroup = (scope: Construct, group: ISecurityGroup): ISecurityGroup =>
  SecurityGroup.fromSecurityGroupId(scope, `${group.node.id}Group`, group.securityGroupId, {
    mutable: false,
  })
