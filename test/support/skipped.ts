/** Skips a test, or from a `before` all tests of its suite, and says why in the report. */
export function skipped(context: Mocha.Context, why: string): void {
  const { test } = context
  const name = (each: Mocha.Runnable) => {
    each.title += ` (skipped: ${why})`
  }
  const isHook = test !== undefined && 'type' in test && test.type === 'hook'
  if (isHook) test.parent?.eachTest(name)
  else if (test) name(test)
  context.skip()
}
