import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { BASE } from '../../src/http/edge.ts'
import { openApi } from '../../src/http/openapi.ts'
import { OF_AUTH_SERVICE, OF_TASK_SERVICE } from './endpoints.ts'

type Operation = {
  responses: Record<string, { content?: Record<string, { schema: object }>; headers?: object }>
}
type Document = { paths: Record<string, Record<string, Operation>> }

const DOCUMENTS = [
  openApi('auth', '1', OF_AUTH_SERVICE),
  openApi('task', '1', OF_TASK_SERVICE),
] as unknown as Document[]

const ajv = new Ajv2020({ strict: false, allErrors: true })
;(addFormats as unknown as (to: Ajv2020) => void)(ajv)
DOCUMENTS.forEach((document, index) => {
  ajv.addSchema(document, `document-${index}`)
})

/** Compiling takes far longer than checking. */
const validators = new Map<string, ReturnType<typeof ajv.compile>>()
function validator($ref: string) {
  const known = validators.get($ref) ?? ajv.compile({ $ref })
  validators.set($ref, known)
  return known
}

/** Where in the documents an operation stands, or undefined if no path has this method. */
function find(method: string, path: string) {
  const verb = (method === 'HEAD' ? 'get' : method).toLowerCase()
  for (const [index, document] of DOCUMENTS.entries()) {
    const exact = Object.keys(document.paths).toSorted(
      (a, b) => +a.includes('{') - +b.includes('{'),
    )
    for (const template of exact) {
      // The path of a tile is several segments.
      const segments = template.replace('{path}', '.+').replace(/\{\w+\}/g, '[^/]+')
      const pattern = new RegExp(`^${segments}$`)
      if (!pattern.test(path)) continue
      const operation = document.paths[template]?.[verb]
      if (operation) return { index, template, verb, operation }
      // A path without variables is itself alone, whatever other methods one with them has.
      break
    }
  }
  return undefined
}

const pointer = (...parts: string[]) =>
  parts
    .map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')))
    .join('/')

/** Throws unless the OpenAPI documents promise this answer: its status, its type and its body. */
export function checkContract(
  method: string,
  path: string,
  response: Response,
  body: string,
): void {
  // Paths of the documents stand under the base path; without it they mean the same.
  const found = find(method, path.startsWith(`${BASE}/`) ? path.slice(BASE.length) : path)
  if (found === undefined) {
    if (response.status === 404 || response.status === 405 || response.status === 204) return
    throw new Error(`${method} ${path} answers ${response.status}, but is in no document`)
  }
  const promised = found.operation.responses[response.status]
  const where = `${method} ${path} -> ${response.status}`
  if (promised === undefined) throw new Error(`${where} is not promised: ${body}`)
  const type = response.headers.get('content-type')?.split(';')[0] ?? ''
  if (promised.content === undefined || method === 'HEAD') {
    if (body !== '') throw new Error(`${where} has a body: ${body}`)
    return
  }
  if (promised.content[type] === undefined) throw new Error(`${where} has type ${type}`)
  // Anything but JSON is a text to the document.
  if (!type.includes('json')) return
  const place = ['paths', found.template, found.verb, 'responses', String(response.status)]
  const reference = pointer(...place, 'content', type, 'schema')
  const validate = validator(`document-${found.index}#/${reference}`)
  for (const json of type === 'application/x-ndjson' ? body.trimEnd().split('\n') : [body]) {
    if (validate(JSON.parse(json))) continue
    throw new Error(`${where} breaks its schema: ${ajv.errorsText(validate.errors)}: ${json}`)
  }
}
