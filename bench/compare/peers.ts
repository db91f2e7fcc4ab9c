import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const DIRECTORY = fileURLToPath(new URL('../peers', import.meta.url))

/** They have a package of their own, so that the product's stays small. */
export const hasPeers = (): boolean => existsSync(`${DIRECTORY}/node_modules/.package-lock.json`)

/** Installs what is compared, and the load generator, once. */
export function requirePeers(): void {
  if (hasPeers()) return
  console.log('installing bench/peers ...')
  const options = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  execFileSync('npm', options, { cwd: DIRECTORY, stdio: 'inherit' })
}
