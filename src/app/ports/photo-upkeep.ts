import type { PhotoType } from '../../domain/task/photos.ts'
import type { Thumbnails } from './photos.ts'

/** A photo of which the worker does something with the objects. */
export type KeptPhoto = { readonly id: string; readonly user_id: number }

export type PhotoToShrink = KeptPhoto & {
  readonly version: string
  readonly content_type: PhotoType
}

/** Which objects of a photo are known. */
export type KnownPhoto = KeptPhoto & {
  /** Of the original; null: nobody has looked at what was uploaded, or will be. */
  readonly version: string | null
  readonly thumbnails: Thumbnails | null
}

export type CheckedPhoto = KnownPhoto & {
  readonly task_id: number
  /** In bytes. */
  readonly size: number
  /** By the events that this table follows. */
  readonly isInTask: boolean
  /** By the row of its task: with the same version and checksum. */
  readonly isShown: boolean
}

/** How many there are of users who are not erased; bytes are those of the originals. */
export type PhotoStatus = {
  readonly in_tasks: number
  readonly bytes: number
  readonly removed: number
  readonly offered: number
  readonly going: number
  readonly waiting: number
  readonly failed: readonly (KeptPhoto & { readonly why: string })[]
}

/** `isSettled`: nobody stores anything of theirs any more. */
export type ErasedUser = { readonly user_id: number; readonly isSettled: boolean }

/**
 * The photos whose objects have to go, and the work on the others; those of erased users are among neither. Error of every method:
 * `database_unavailable`.
 */
export type PhotoUpkeep = {
  /** One that has no thumbnails, and for which it is time to make them. */
  readonly next: () => Promise<PhotoToShrink | null>
  /** False: the photo is gone, and nobody knows of these objects. */
  readonly made: (id: string, thumbnails: Thumbnails) => Promise<boolean>
  /** Nobody tries again by itself. */
  readonly failed: (id: string, why: string) => Promise<void>
  readonly postponed: (id: string, seconds: number) => Promise<void>
  /**
   * Makes some photos go that were removed so many days ago, or whose upload was not completed within so many seconds
   * after its end. From then on they come into no task. Returns how many.
   */
  readonly letGo: (days: number, seconds: number) => Promise<number>
  /** Some whose objects have to be removed. */
  readonly going: () => Promise<readonly KeptPhoto[]>
  /** Its objects are removed. */
  readonly forget: (id: string) => Promise<void>
  /**
   * Some users who are erased and of whose photos something is known. They are settled so many seconds after their
   * erasure and after the end of their last upload.
   */
  readonly erasedUsers: (seconds: number) => Promise<readonly ErasedUser[]>
  /** No object of theirs is left: says so in the log, and forgets their photos. False: that was done before. */
  readonly erased: (user_id: number) => Promise<boolean>
  /** Those that exist of these photos. */
  readonly known: (ids: readonly string[]) => Promise<readonly KnownPhoto[]>
  /** Some of all photos that are not going, by their ids, after this one. */
  readonly all: (after: string) => Promise<readonly CheckedPhoto[]>
  /** Tries again to make thumbnails that failed, of this photo or of all; returns how many. */
  readonly retry: (id: string | null) => Promise<number>
  readonly status: () => Promise<PhotoStatus>
}
