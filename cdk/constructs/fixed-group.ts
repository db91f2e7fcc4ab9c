import { type ISecurityGroup, SecurityGroup } from 'aws-cdk-lib/aws-ec2'
import type { Construct } from 'constructs'

/**
 * A group of the network stack as another stack sees it: without a way to add rules. Otherwise library
 * constructs would add their own, and create a circular dependency of stacks.
 */
export const fixedGroup = (scope: Construct, group: ISecurityGroup): ISecurityGroup =>
  SecurityGroup.fromSecurityGroupId(scope, `${group.node.id}Group`, group.securityGroupId, {
    mutable: false,
  })
