import fc from 'fast-check'

// Values that nobody means well with: half right, so that they get past the first check, and half
// wrong. What is right is read from the JSON Schemas of the OpenAPI documents.

export type Schema = {
  readonly $ref?: string
  readonly type?: string | readonly string[]
  readonly enum?: readonly string[]
  readonly anyOf?: readonly Schema[]
  readonly format?: string
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly properties?: Readonly<Record<string, Schema>>
}

/** Mostly `good`: once bad for `weight` times good. */
export const mostly = <T>(weight: number, good: fc.Arbitrary<T>, bad: fc.Arbitrary<T>) =>
  fc.oneof({ weight, arbitrary: good }, { weight: 1, arbitrary: bad })

const codeUnits = fc
  .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 6 })
  .map((units) => String.fromCharCode(...units))

export const nastyText = fc.oneof(
  fc.constantFrom('', ' ', '\0', 'a\0b', '\ud800', '\udfff\ud800', '\u202e\u2028\ufeff'),
  fc.constantFrom('😀'.repeat(201), 'x'.repeat(135_000), `${'a.'.repeat(20_000)}@`),
  fc.constantFrom("' or 1=1; drop table tasks; --", '%', '_', '\\', '{{7*7}}<script>', '../../x'),
  fc.constantFrom('null', 'NaN', 'infinity', '-infinity', 'now', 'epoch', '__proto__', '-1'),
  fc.constantFrom('0000-01-01T00:00:00.000Z', '9999-12-31T23:59:59-23:59', '0001-01-01T00:00:00Z'),
  fc.constantFrom('2026-02-30T00:00:00Z', '9007199254740993', '1e309'),
  fc.string({ unit: 'binary', maxLength: 40 }),
  codeUnits,
)

const nastyValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: nastyText },
  { weight: 1, arbitrary: fc.constantFrom(null, true, 0, -1, 1.5, 1e308, 2 ** 53, [], {}, [[]]) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
)

/** A value that the schema lets through, more or less. */
function plausible(schema: Schema): fc.Arbitrary<unknown> {
  const { anyOf, type, format, pattern, minLength = 0, maxLength = 200 } = schema
  if (anyOf) return fc.oneof(...anyOf.map(plausible))
  if (schema.enum) return fc.constantFrom(...schema.enum)
  if (type === 'null') return fc.constant(null)
  if (format === 'date-time') {
    return fc.date({ noInvalidDate: true, min: new Date(0) }).map((date) => date.toISOString())
  }
  if (format === 'email') return fc.uuid().map((name) => `${name}@example.com`)
  if (format === 'uuid') return fc.uuid()
  if (pattern) return fc.stringMatching(new RegExp(pattern))
  const max = Math.min(maxLength, 300)
  return fc.string({ unit: 'grapheme', minLength, maxLength: max, size: 'max' })
}

/** Objects with these properties, the first `required` of them always there. */
export function nastyObject(of: Readonly<Record<string, Schema>>, required: number) {
  const known: Record<string, fc.Arbitrary<unknown>> = {}
  for (const [name, schema] of Object.entries(of)) {
    known[name] = mostly(12, plausible(schema), nastyValue)
  }
  const names = fc.constantFrom('__proto__', 'constructor', 'id', 'user_id', 'role', 'version')
  const unknown = fc.dictionary(mostly(4, names, nastyText), nastyValue, { maxKeys: 2 })
  return fc
    .tuple(
      fc.record(known, { requiredKeys: Object.keys(of).slice(0, required) }),
      mostly(5, fc.constant({}), unknown),
    )
    .map(([right, wrong]): object => ({ ...right, ...wrong }))
}

/** Bytes with a few of them removed, replaced or added. */
export const damaged = (bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
  fc
    .tuple(
      bytes,
      fc.array(fc.tuple(fc.nat(), fc.nat(3), fc.uint8Array({ maxLength: 4 })), {
        minLength: 1,
        maxLength: 3,
      }),
    )
    .map(([whole, cuts]) =>
      cuts.reduce((rest: Buffer, [place, gone, put]) => {
        const at = place % (rest.length + 1)
        return Buffer.concat([rest.subarray(0, at), put, rest.subarray(at + gone)])
      }, whole),
    )

const asJson = (value: unknown): Buffer => Buffer.from(JSON.stringify(value) ?? '')

export function nastyBody(of: Readonly<Record<string, Schema>>): fc.Arbitrary<Buffer> {
  const json = nastyObject(of, 3).map(asJson)
  const strange = fc.oneof(
    fc.jsonValue().map(asJson),
    nastyText.map(asJson),
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.constantFrom('[', '{"a":', '[[],').map((piece) => Buffer.from(piece.repeat(9_000))),
    fc.constantFrom(131_072, 131_073, 200_000).map((size) => Buffer.alloc(size, '{"title":"a"} ')),
  )
  return mostly(4, json, mostly(1, damaged(json), strange))
}

// Latin 1 without its control characters: what a header can carry at all.
const latin = fc
  .integer({ min: 0x20, max: 0xff })
  .filter((code) => code < 0x7f || code > 0x9f)
  .map((code) => String.fromCharCode(code))
const nastyHeader = fc.oneof(
  fc.string({ unit: latin, maxLength: 50 }),
  fc.constantFrom('', ' ', 'x'.repeat(300), 'x'.repeat(6_000), '*', '"', ',,,', 'null', 'a\tb'),
)
const tag = fc.oneof(
  fc.nat(3).map((version) => `"${version}"`),
  fc.constantFrom('*', 'W/"1"', '"1", "2"'),
)

const accepted = fc.constantFrom(
  'application/problem+json',
  'application/x-ndjson',
  'text/csv',
  '*/*;q=x',
)

export const nastyHeaders: fc.Arbitrary<Record<string, string>> = fc.record(
  {
    'if-match': mostly(2, tag, nastyHeader),
    'if-none-match': mostly(4, tag, nastyHeader),
    'last-event-id': mostly(2, fc.nat(99).map(String), nastyHeader),
    'idempotency-key': mostly(2, fc.constantFrom('a', 'b', 'c', 'd'), nastyHeader),
    'x-request-id': nastyHeader,
    'x-forwarded-for': nastyHeader,
    accept: mostly(2, accepted, nastyHeader),
    'content-type': mostly(
      9,
      fc.constant('application/json'),
      mostly(2, fc.constantFrom('text/plain', 'application/json; charset=x', ';'), nastyHeader),
    ),
    'content-encoding': mostly(9, fc.constant('identity'), fc.constantFrom('gzip', 'br', 'é')),
    'user-agent': nastyHeader,
    'x-internal-api-key': nastyHeader,
    'x-http-method-override': fc.constantFrom('DELETE', 'PUT'),
    cookie: nastyHeader,
    host: nastyHeader,
    'transfer-encoding': fc.constant('chunked'),
  },
  { requiredKeys: [] },
)
