import type { Mail } from '../../app/ports/mail.ts'

/** A mail as nodemailer takes it. Nobody is to answer it, and no program either (RFC 3834). */
export const composed = ({ to, subject, text, message_id }: Mail, from: string) => ({
  from,
  // An object is not parsed: no address becomes two.
  to: { name: '', address: to },
  subject,
  text,
  messageId: `<${message_id}>`,
  headers: { 'Auto-Submitted': 'auto-generated' },
})
