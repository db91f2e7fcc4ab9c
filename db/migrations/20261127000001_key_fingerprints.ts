import type { Knex } from 'knex'

// Which keys the data was made with. A process with another key refuses to work: it would reject right
// passwords, and write what the right key cannot read.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table key_fingerprints (
      name text primary key,
      -- A truncated HMAC with the key: it reveals nothing of the key. Null: the next key is accepted.
      fingerprint text check (fingerprint ~ '^[0-9a-f]{16}$'),
      since timestamptz not null default clock_timestamp()
    );

    -- Of several concurrent claims the first wins; returns the fingerprint that is now stored.
    create function claim_key(p_name text, p_fingerprint text) returns text
    language sql volatile security definer set search_path = public, pg_temp as $$
      insert into key_fingerprints as kept (name, fingerprint) values (p_name, p_fingerprint)
        on conflict (name) do update
          set fingerprint = coalesce(kept.fingerprint, excluded.fingerprint),
            since = case when kept.fingerprint is null then clock_timestamp() else kept.since end
        returning fingerprint
    $$;

    revoke execute on function claim_key from public;
    grant execute on function claim_key to tasktrail_auth, tasktrail_task, tasktrail_worker;
    grant select on key_fingerprints to tasktrail_auth, tasktrail_task, tasktrail_worker;
    -- The worker rewraps the users' keys, and then records which key they are wrapped with.
    grant update (fingerprint, since) on key_fingerprints to tasktrail_worker;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop function claim_key;
    drop table key_fingerprints;
  `)
}
