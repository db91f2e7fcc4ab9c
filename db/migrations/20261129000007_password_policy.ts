import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Of those who must not use their last passwords again (PASSWORD_HISTORY). They go with the account.
    create table former_passwords (
      id bigint generated always as identity primary key,
      user_id bigint not null references users on delete cascade,
      password_hash varchar(255) not null,
      replaced_at timestamptz not null
    );
    create index former_passwords_of_user on former_passwords (user_id, id);

    grant select, insert, delete on former_passwords to tasktrail_auth;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table former_passwords')
}
