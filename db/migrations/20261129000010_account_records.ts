import type { Knex } from 'knex'

// Everything that is kept of a user besides tasks, for the export of a person. A table that gets a column with
// a user in it belongs in here too: test/http/person-export.test.ts finds it. Left out is what proves who somebody is:
// hashes, secrets and tokens.
const KINDS = {
  profile: `select '' as key, to_jsonb(u) - 'password_hash' - 'credentials_version' as data
    from users u where id = p_user_id`,
  session: `select id::text, to_jsonb(s) - 'user_id' - 'credentials_version'
    from sessions s where user_id = p_user_id`,
  factor: `select id::text, to_jsonb(f) - 'user_id' - 'secret' - 'last_step' - 'public_key'
    from factors f where user_id = p_user_id`,
  recovery_codes: `select '', jsonb_build_object('left', count(*))
    from recovery_codes where user_id = p_user_id`,
  former_password: `select id::text, jsonb_build_object('replaced_at', replaced_at)
    from former_passwords where user_id = p_user_id`,
  challenge: `select encode(hash, 'hex'), jsonb_build_object('purpose', purpose, 'expires_at', expires_at)
    from challenges where user_id = p_user_id`,
  identity: `select provider, to_jsonb(i) - 'user_id' from identities i where user_id = p_user_id`,
  pool_session: `select session_id::text, jsonb_build_object('username', username) from pool_sessions
    where session_id in (select id from sessions where user_id = p_user_id)`,
  login_attempt: `select ip, to_jsonb(a) - 'account' from login_attempts a
    where account in (
      select unnest(array[lower(username), case when email_confirmed_at is not null then lower(email) end])
      from users where id = p_user_id)`,
  security_event: `select to_char(id, 'FM0000000000000000'), to_jsonb(e) from security_events e
    where user_id = p_user_id`,
  audit_access: `select to_char(id, 'FM0000000000000000'), to_jsonb(a) from audit_accesses a
    where user_id = p_user_id`,
  mail: `select to_char(id, 'FM0000000000000000'), to_jsonb(m) - 'user_id' from mails m
    where user_id = p_user_id`,
  mailed_link: `select encode(token_hash, 'hex'),
      to_jsonb(l) - 'token_hash' - 'user_id' - 'credentials_version'
    from account_links l where user_id = p_user_id`,
  email_change: `select '', to_jsonb(c) - 'user_id' from email_changes c where user_id = p_user_id`,
  usage: `select '', to_jsonb(w) - 'user_id' from user_usage w where user_id = p_user_id`,
}

export async function up(knex: Knex): Promise<void> {
  const all = Object.entries(KINDS).map(
    ([kind, rows]) => `select '${kind}', key, data from (${rows}) as kept (key, data)`,
  )
  await knex.raw(`
    create function account_records(p_user_id bigint)
      returns table (kind text, key text, data jsonb)
    language sql stable security definer set search_path = public, pg_temp as $$
      ${all.join('\n union all ')}
    $$;
    revoke execute on function account_records from public;
    grant execute on function account_records to tasktrail_auth;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop function account_records')
}
