import { expect } from 'chai'
import { photoKey } from '../../src/app/photo-keys.ts'
import { type PhotosPorts, photos } from '../../src/app/photos.ts'
import type { ObjectStorage } from '../../src/app/ports/object-storage.ts'
import { sha256 } from '../support/object-storage-contract.ts'
import { type PhotoStorage, startPhotoStorage } from '../support/photo-storage.ts'
import { jpeg } from '../support/photos.ts'

describe('Completing an upload', () => {
  let place: PhotoStorage
  before(async () => {
    place = await startPhotoStorage()
  })
  after(() => place?.stop())

  for (const knowsChecksums of [true, false]) {
    const which = `${knowsChecksums ? 'knows' : 'does not know'} checksums`
    it(`finds nothing if that goes at this moment, in a storage that ${which}`, async () => {
      const bytes = await jpeg()
      const owned = { id: '01890000-0000-7000-8000-000000000000', user_id: 1, task_id: 2 }
      const key = photoKey(owned, 'original')
      const head: ObjectStorage['head'] = async (...which) => {
        const found = await place.storage.head(...which)
        if (found !== null) await place.storage.remove({ key, version: found.version })
        return found && { ...found, sha256: knowsChecksums ? found.sha256 : null }
      }
      await place.storage.put({ key, contentType: 'image/jpeg' }, bytes)
      const promised = { size: bytes.length, sha256: sha256(bytes), content_type: 'image/jpeg' }
      const ports = {
        records: { find: async () => ({ ...owned, ...promised, found: null, added_at: null }) },
        storage: { ...place.storage, head },
        tasks: { find: async () => ({ user_id: 1 }) },
      }
      const { complete } = photos(ports as unknown as PhotosPorts)
      const failure = await complete(2, owned.id, { actor_id: 1 } as never).catch((error) => error)
      expect(failure.code).to.equal('photo_not_uploaded')
    })
  }
})
