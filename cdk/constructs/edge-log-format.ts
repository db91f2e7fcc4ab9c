import { AccessLogField, AccessLogFormat } from 'aws-cdk-lib/aws-apigateway'
import type { EdgeLine } from '../../src/http/edge-log.ts'

/** A line of the access log, with the names of the local gateway's. Neither query nor token is in it. */
const FIELDS: Readonly<Record<keyof EdgeLine, string>> = {
  time: AccessLogField.contextRequestTimeEpoch(),
  request_id: AccessLogField.contextRequestId(),
  ip: AccessLogField.contextIdentitySourceIp(),
  method: AccessLogField.contextHttpMethod(),
  path: AccessLogField.contextPath(),
  protocol: AccessLogField.contextProtocol(),
  status: AccessLogField.contextStatus(),
  response_length: AccessLogField.contextResponseLength(),
  latency_ms: AccessLogField.contextResponseLatency(),
  error: AccessLogField.contextErrorResponseType(),
}

/** All values are texts: `-` stands for what there is not, which would be no JSON without quotes. */
export const edgeLogFormat = (): AccessLogFormat => AccessLogFormat.custom(JSON.stringify(FIELDS))
