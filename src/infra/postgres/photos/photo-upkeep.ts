import canonicalize from 'canonicalize'
import { v7 as uuidv7 } from 'uuid'
import type { Metadata } from '../../../app/ports/event-store.ts'
import type {
  CheckedPhoto,
  ErasedUser,
  KeptPhoto,
  KnownPhoto,
  PhotoStatus,
  PhotoToShrink,
  PhotoUpkeep,
} from '../../../app/ports/photo-upkeep.ts'
import { USER_EVENT_SCHEMA_VERSION } from '../../../domain/user.ts'
import type { Database } from '../connection/database.ts'

/** In one round. */
const AT_ONCE = 1_000

// All objects of an erased user are removed at once. Their photos stay in the table until the log says so, and are
// nobody's work until then.
const NOT_ERASED = `
  not exists (select from user_keys
    where user_keys.user_id = photos.user_id and user_keys.destroyed_at is not null)`

const NEXT = {
  name: 'photo_without_thumbnails',
  text: `
    select photo_id as id, user_id, version, content_type from photos
    where added_at is not null and thumbnails is null and thumbnails_failed is null and gone_at is null
      and thumbnails_due_at <= clock_timestamp() and ${NOT_ERASED}
    order by thumbnails_due_at limit 1`,
}
const MADE = {
  name: 'thumbnails_made',
  text: `
    update photos set thumbnails = $2
    where photo_id = $1 and thumbnails is null and gone_at is null returning photo_id`,
}
const FAILED = {
  name: 'thumbnails_failed',
  text: 'update photos set thumbnails_failed = $2 where photo_id = $1 and thumbnails is null',
}
const POSTPONED = {
  name: 'thumbnails_postponed',
  text: `
    update photos set thumbnails_due_at = clock_timestamp() + make_interval(secs => $2)
    where photo_id = $1`,
}
// One that is about to come into a task is locked by its event, and then not among these any more.
const LET_GO = {
  name: 'let_photos_go',
  text: `
    update photos set gone_at = clock_timestamp() where photo_id in (
      select photo_id from photos
      where gone_at is null and (added_at is null or removed_at is not null)
        and coalesce(removed_at + make_interval(days => $1), upload_ends_at + make_interval(secs => $2))
          < clock_timestamp()
        and ${NOT_ERASED}
      limit ${AT_ONCE} for no key update skip locked)
    returning photo_id`,
}
const GOING = {
  name: 'photos_going',
  text: `
    select photo_id as id, user_id from photos where gone_at is not null and ${NOT_ERASED}
    order by photo_id limit ${AT_ONCE}`,
}
const FORGET = {
  name: 'forget_photo',
  text: 'delete from photos where photo_id = $1 and gone_at is not null',
}
const ERASED_USERS = {
  name: 'erased_users_with_photos',
  text: `
    select user_id, greatest(destroyed_at, (
        select max(upload_ends_at) from photos where photos.user_id = user_keys.user_id))
      < clock_timestamp() - make_interval(secs => $1) as "isSettled"
    from user_keys where destroyed_at is not null
      and exists (select from photos where photos.user_id = user_keys.user_id)
      and exists (select from events where stream_id = 'user-' || user_id and type = 'UserErased')
    order by user_id limit ${AT_ONCE}`,
}
const ERASED = { name: 'photos_erased', text: 'select photos_erased($1, $2, $3, $4) as erased' }
const KNOWN = {
  name: 'known_photos',
  text: `
    select photo_id as id, user_id, version, thumbnails from photos where photo_id = any ($1::uuid[])`,
}

const ALL = {
  name: 'all_photos',
  text: `
    select photo_id as id, task_id, user_id, version, size, thumbnails,
      added_at is not null and removed_at is null as "isInTask",
      exists (
        select from tasks, jsonb_array_elements(tasks.photos) shown
        where tasks.id = task_id and shown->>'id' = photo_id::text
          and shown->>'version' = photos.version
          and shown->>'sha256' = encode(sha256, 'hex')) as "isShown"
    from photos where gone_at is null and photo_id > $1 and ${NOT_ERASED} order by photo_id limit ${AT_ONCE}`,
}
const RETRY = {
  name: 'retry_thumbnails',
  text: `
    update photos set thumbnails_failed = null, thumbnails_due_at = clock_timestamp()
    where thumbnails_failed is not null and photo_id = coalesce($1, photo_id) returning photo_id`,
}
const STATUS = {
  name: 'photos_status',
  text: `
    select count(*) filter (where added_at is not null and removed_at is null) as in_tasks,
      coalesce(sum(size) filter (where added_at is not null and gone_at is null), 0)::bigint as bytes,
      count(*) filter (where removed_at is not null and gone_at is null) as removed,
      count(*) filter (where added_at is null and gone_at is null) as offered,
      count(*) filter (where gone_at is not null) as going,
      count(*) filter (where added_at is not null and gone_at is null and thumbnails is null
        and thumbnails_failed is null) as waiting,
      coalesce(jsonb_agg(jsonb_build_object('id', photo_id, 'user_id', user_id, 'why', thumbnails_failed)
        order by photo_id) filter (where thumbnails_failed is not null and gone_at is null), '[]') as failed
    from photos where ${NOT_ERASED}`,
}

/** For the worker, and for those who look after it. */
export function postgresPhotoUpkeep(db: Database): PhotoUpkeep {
  return {
    async next() {
      const [photo = null] = await db.query<PhotoToShrink>(NEXT, [])
      return photo
    },
    made: async (id, thumbnails) => (await db.query(MADE, [id, thumbnails])).length > 0,
    async failed(id, why) {
      await db.query(FAILED, [id, why])
    },
    async postponed(id, seconds) {
      await db.query(POSTPONED, [id, seconds])
    },
    letGo: async (days, seconds) => (await db.query(LET_GO, [days, seconds])).length,
    going: () => db.query<KeptPhoto>(GOING, []),
    async forget(id) {
      await db.query(FORGET, [id])
    },
    erasedUsers: (seconds) => db.query<ErasedUser>(ERASED_USERS, [seconds]),
    async erased(user_id) {
      const event = [uuidv7(), USER_EVENT_SCHEMA_VERSION, canonicalize(ownMetadata())]
      const [done] = await db.query<{ erased: boolean }>(ERASED, [user_id, ...event])
      return done?.erased === true
    },
    known: (ids) => db.query<KnownPhoto>(KNOWN, [ids]),
    all: (after) => db.query<CheckedPhoto>(ALL, [after]),
    retry: async (id) => (await db.query(RETRY, [id])).length,
    async status() {
      const [status] = await db.query<PhotoStatus>(STATUS, [])
      if (status === undefined) throw new Error('a count gave no row')
      return status
    },
  }
}

/** Nobody asked: the request is the worker's own. */
function ownMetadata(): Metadata {
  const request_id = uuidv7()
  const correlation = { request_id, correlation_id: request_id, causation_id: uuidv7() }
  return { ...correlation, session_id: null, ip: null }
}
