import { expect } from 'chai'
import { type PhotoStorage, startPhotoStorage } from './support/photo-storage.ts'
import { givenPhoto, jpeg } from './support/photos.ts'
import { startProcess } from './support/processes.ts'
import { type System, startSystem } from './support/system.ts'

describe('npm run photos', function () {
  this.timeout(60_000)
  let photos: PhotoStorage
  let system: System
  before(async () => {
    photos = await startPhotoStorage()
    system = await startSystem(photos.env)
  })
  after(async () => {
    await system?.stop()
    await photos?.stop()
  })
  const run = async (args: readonly string[], env: Record<string, string> = photos.env) => {
    const started = startProcess(process.execPath, ['src/photos.ts', ...args], {
      env: { DATABASE_URL: system.database.url, ...env },
    })
    const ended = await started.ended
    return { ended, out: started.out, err: started.err }
  }

  it('says what there is, compares it, and sweeps', async () => {
    const user = await system.newUser()
    const { body } = await system.call('POST', '/tasks', {
      token: user.token,
      body: { title: 'A' },
    })
    const bytes = await jpeg()
    await givenPhoto(system.call, user, body.task.id, bytes)
    expect(await run([])).to.deep.equal({
      ended: 'code 0',
      out: [
        `1 photos in tasks, 0 removed that can come back: ${bytes.length} bytes`,
        '0 uploads that are not completed, 0 photos whose bytes are being removed',
        '1 photos wait for thumbnails, and of 0 they cannot be made',
      ],
      err: [],
    })
    expect((await run(['check'])).out).to.deep.equal(['1 photos: tasks, photos and objects agree.'])
    expect((await run(['sweep'])).out).to.deep.equal([
      '1 objects, of which 0 were known to nobody and are removed.',
    ])
    expect((await run(['retry'])).out).to.deep.equal([
      'The worker makes thumbnails of 0 photos again.',
    ])
    await photos.storage.removeSome(`users/${user.id}/` as never)
    const broken = await run(['check'])
    expect(broken.ended).to.equal('code 1')
    expect(broken.out.join('\n')).to.match(
      /^1 photos, 1 differences:\nthe bytes of photo .* are not there$/,
    )
  })

  it('refuses what it does not know, in one sentence', async () => {
    for (const [args, first] of [
      [['burn'], 'There is no "burn": use status, retry, check, sweep.'],
      [['sweep', 'all'], "Unexpected argument 'all'."],
      [['retry', 'all'], "'all' is not a photo's id."],
    ] as const) {
      const { ended, err } = await run(args)
      expect([ended, err[0]]).to.deep.equal(['code 2', first])
    }
    const nowhere = await run(['check'], { DATA_DIR: '/nowhere' })
    expect([nowhere.ended, nowhere.err]).to.deep.equal([
      'code 1',
      ['No place for photos: set PHOTOS_BUCKET, or DATA_DIR to where "npm start" keeps its data.'],
    ])
  })
})
