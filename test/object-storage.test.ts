import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { build } from 'esbuild'
import { objectKey } from '../src/app/object-keys.ts'
import { openObjectStorage } from '../src/object-storage.ts'

const KEY = objectKey('photos', 'a')

describe('The object storage of a service', () => {
  it('is the directory that the environment names', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tasktrail-photos-'))
    const place = { directory, url: 'http://127.0.0.1/objects', secret: 's'.repeat(32) }
    const storage = await openObjectStorage({ directory: place })
    await storage.put({ key: KEY, contentType: 'image/png' }, Buffer.from('x'))
    expect(await storage.head(KEY)).to.include({ size: 1 })
    await rm(directory, { recursive: true })
  })

  it('is the bucket that the environment names', async () => {
    const credentials = { accessKeyId: 'a', secretAccessKey: 'b' }
    const s3 = { bucket: 'tasktrail-photos', region: 'eu-central-1', credentials }
    const storage = await openObjectStorage({ s3 })
    const facts = { key: KEY, contentType: 'image/png', size: 1, sha256: '00'.repeat(32) }
    const { url } = await storage.offerUpload(facts, 300)
    expect(url).to.equal('https://tasktrail-photos.s3.eu-central-1.amazonaws.com/')
    storage.close()
  })

  it('loads the SDK of AWS only where there is a bucket', async () => {
    const { metafile } = await build({
      entryPoints: ['src/object-storage.ts'],
      bundle: true,
      write: false,
      metafile: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      outdir: 'dist',
    })
    const outputs = metafile.outputs
    /** Of all that is loaded with a file. */
    const loaded = (file: string): readonly string[] => [
      ...Object.keys(outputs[file]?.inputs ?? {}),
      ...(outputs[file]?.imports ?? []).flatMap(({ kind, path }) =>
        kind === 'import-statement' ? loaded(path) : [],
      ),
    ]
    const isSdk = (file: string) => file.includes('@aws-sdk')
    expect(loaded('dist/object-storage.js')).to.include('src/object-storage.ts')
    expect(loaded('dist/object-storage.js').filter(isSdk)).to.deep.equal([])
    expect(Object.values(outputs).flatMap(({ inputs }) => Object.keys(inputs))).to.satisfy(
      (files: string[]) => files.some(isSdk),
    )
  })
})
