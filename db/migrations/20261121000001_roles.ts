import type { Knex } from 'knex'

// Four parties use the database besides the one that migrates it, each with its own role. The roles cannot
// log in: a service's login user is a member of its role and takes it on connecting. Roles belong to the
// whole cluster, so other databases and concurrent migrations may use them: creating an existing one is not
// an error, and rolling back leaves them.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    do $$
    declare
      role_name text;
    begin
      foreach role_name in array array['tasktrail_auth', 'tasktrail_task', 'tasktrail_worker',
          'tasktrail_auditor'] loop
        -- No lock spans databases: another migration may have done this already.
        begin
          if not exists (select from pg_roles where rolname = role_name) then
            execute format('create role %I nologin', role_name);
          end if;
        exception when duplicate_object or unique_violation then
          null;
        end;
        begin
          if not pg_has_role(current_user, role_name, 'member') then
            execute format('grant %I to %I', role_name, current_user);
          end if;
        exception when unique_violation then
          null;
        end;
      end loop;
    end
    $$`)
}

export async function down(): Promise<void> {}
