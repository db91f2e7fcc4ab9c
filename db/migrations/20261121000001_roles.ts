import type { Knex } from 'knex'

// Four parties use the database beside the one who migrates it, each with a role of its own. The
// roles cannot log in: a service's login user is a member of its role and takes it on connecting.
// Roles belong to the whole cluster, so other databases and other migrations may use them at the same
// time: creating one that is there is no error, and rolling back leaves them.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    do $$
    declare
      role_name text;
    begin
      foreach role_name in array array['tasktrail_auth', 'tasktrail_task', 'tasktrail_worker',
          'tasktrail_auditor'] loop
        -- No lock reaches over databases: what another migration does at this moment is done.
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
