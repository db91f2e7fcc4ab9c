import type { Knex } from 'knex'

// What a user proves who they are with, besides the password: authenticator apps (TOTP) and passkeys, and
// ten codes for when these are lost.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table factors (
      id uuid primary key,
      user_id bigint not null references users on delete cascade,
      kind text not null check (kind in ('totp', 'passkey')),
      name text not null,
      created_at timestamptz not null,
      last_used_at timestamptz,
      -- Of TOTP, wrapped with a key that is not in the database; and the last time step of which a code
      -- was used: none is used twice.
      secret bytea,
      last_step bigint,
      -- Of a passkey (WebAuthn).
      credential_id text,
      public_key bytea,
      sign_count bigint,
      check (kind = 'totp' and secret is not null and last_step is not null
        or kind = 'passkey' and credential_id is not null and public_key is not null
          and sign_count is not null)
    );
    create index factors_of_user on factors (user_id, created_at);
    create unique index factors_credential_key on factors (credential_id);

    create table recovery_codes (
      hash bytea primary key,
      user_id bigint not null references users on delete cascade
    );
    create index recovery_codes_of_user on recovery_codes (user_id);

    -- A step that was begun and waits for its proof. What is sent to the client is 256 random bits, and this
    -- has their hash.
    create table challenges (
      hash bytea primary key,
      purpose text not null check (purpose in ('login', 'passkey', 'new_totp', 'new_passkey')),
      user_id bigint references users on delete cascade,
      -- Of the user when it was begun: a change of password ends it.
      credentials_version int,
      -- How its user has proven who they are so far.
      amr text[] not null default '{}',
      -- Of the TOTP that is to be added.
      secret bytea,
      expires_at timestamptz not null
    );
    create index challenges_by_expiry on challenges (expires_at);
    create index challenges_of_user on challenges (user_id);

    grant select, insert, delete on factors, challenges to tasktrail_auth;
    grant update (last_used_at, last_step, sign_count) on factors to tasktrail_auth;
    -- To lock those that have expired, before it removes them.
    grant update (expires_at) on challenges to tasktrail_auth;
    grant select, insert, delete on recovery_codes to tasktrail_auth;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table challenges; drop table recovery_codes; drop table factors')
}
