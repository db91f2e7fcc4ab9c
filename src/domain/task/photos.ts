/** What a photo may be. The names are the storage format, and what clients send. */
export const PHOTO_TYPES = ['image/jpeg', 'image/png', 'image/webp', 'image/avif'] as const

export type PhotoType = (typeof PHOTO_TYPES)[number]
