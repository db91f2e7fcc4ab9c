import {
  type ApplicationListener,
  ApplicationListenerRule,
  ListenerAction,
  ListenerCondition,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2'
import type { Construct } from 'constructs'
import { PATH_RULES, type Target } from '../../src/http/routing.ts'
import type { HttpServiceName } from '../catalogue.ts'

/** Paths that the load balancer answers itself. */
export type OwnAnswer = Exclude<Target, HttpServiceName>

const json = (status: number, body: object): ListenerAction =>
  ListenerAction.fixedResponse(status, {
    contentType: 'application/json',
    messageBody: JSON.stringify(body),
  })

/** Like the answers of the local gateway, except for the request id. */
const ANSWERS: Readonly<Record<OwnAnswer, ListenerAction>> = {
  refused: json(403, {
    error: 'Forbidden',
    message: 'Only services of Tasktrail may call this',
    code: 'internal_only',
  }),
  'not-found': json(404, {
    error: 'Not Found',
    message: 'There is nothing at this path',
    code: 'route_not_found',
  }),
}

export const notFound = (): ListenerAction => ANSWERS['not-found']

const isOwn = (target: Target): target is OwnAnswer => target in ANSWERS

/** A rule for every path that no service answers. */
export function addOwnAnswers(scope: Construct, listener: ApplicationListener): void {
  for (const { target, patterns, priority } of PATH_RULES) {
    if (!isOwn(target)) continue
    new ApplicationListenerRule(scope, `rule-${priority}`, {
      listener,
      priority,
      conditions: [ListenerCondition.pathPatterns([...patterns])],
      action: ANSWERS[target],
    })
  }
}

/** The paths of a service; each is a rule of its own. */
export const pathsOf = (service: HttpServiceName) =>
  PATH_RULES.filter(({ target }) => target === service).map(({ patterns, priority }) => ({
    priority,
    conditions: [ListenerCondition.pathPatterns([...patterns])],
  }))
