import type { Knex } from 'knex'

// A session lasts as long as it is used: each use of a refresh token moves its end. The id of a session is
// that of the family of its refresh tokens.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- When and how its user last proved who they are; amr as in RFC 8176. Versions before this one write
    -- neither: they know passwords alone.
    alter table sessions
      add column auth_time timestamptz not null default now(),
      add column amr text[] not null default '{pwd}';
    update sessions set auth_time = created_at;
    grant update (auth_time, amr) on sessions to tasktrail_auth;

    -- SHA-256 of each token. A used one stays as long as its session: whoever presents it again is a thief,
    -- or was robbed. Its nonce leads from it to the one after it, for those who have it.
    create table refresh_tokens (
      hash bytea primary key,
      session_id uuid not null references sessions on delete cascade,
      used_at timestamptz,
      nonce bytea,
      next_hash bytea,
      check ((used_at is null) = (nonce is null) and (nonce is null) = (next_hash is null))
    );
    create index refresh_tokens_of_session on refresh_tokens (session_id);
    -- Of a session one token at most is valid, whatever happens at the same time.
    create unique index refresh_tokens_valid on refresh_tokens (session_id) where used_at is null;
    grant insert (hash, session_id) on refresh_tokens to tasktrail_auth;

    -- Uses a refresh token: the one after it is p_next_hash, made with p_nonce. Outcomes: "live", with the
    -- nonces that lead from this token to the one that is valid now, several if it was used within the last
    -- ten seconds (two tabs, or an answer that was lost); "reused": it was used before that, so the session
    -- has been ended and that is recorded; "ended": there is no such token or session any more. The session
    -- lasts 30 days from here, and 90 in all; the service itself has no right to make it last longer.
    create function refresh_session(
      p_request_id text, p_ip text, p_user_agent text, p_now timestamptz,
      p_hash bytea, p_nonce bytea, p_next_hash bytea,
      out outcome text, out nonces bytea[], out sid uuid, out user_id bigint, out expires_at timestamptz,
      out auth_time timestamptz, out amr text[]
    )
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      given refresh_tokens;
      held sessions;
      name text;
    begin
      outcome := 'ended';
      select s.* into held from refresh_tokens t join sessions s on s.id = t.session_id
        where t.hash = p_hash for no key update of s;
      if not found then
        return;
      end if;
      -- Those who came before may have used it while this one waited for the session.
      select * into given from refresh_tokens where hash = p_hash;
      select username into name from users u
        where u.id = held.user_id and u.credentials_version = held.credentials_version;
      if not found or held.ended_at is not null or held.expires_at <= p_now then
        return;
      end if;
      if given.used_at is null then
        update refresh_tokens set used_at = p_now, nonce = p_nonce, next_hash = p_next_hash
          where hash = p_hash;
        insert into refresh_tokens (hash, session_id) values (p_next_hash, held.id);
        update sessions s set last_used_at = greatest(s.last_used_at, p_now),
            expires_at = least(p_now + interval '30 days', s.created_at + interval '90 days')
          where s.id = held.id returning s.expires_at into held.expires_at;
        nonces := array[p_nonce];
      elsif given.used_at > p_now - interval '10 seconds' then
        with recursive chain (nonce, next_hash, step) as (
          select given.nonce, given.next_hash, 1
          union all
          select t.nonce, t.next_hash, step + 1 from chain c
            join refresh_tokens t on t.hash = c.next_hash and t.used_at is not null
        )
        select array_agg(chain.nonce order by step) into nonces from chain;
      else
        outcome := 'reused';
        update sessions set ended_at = p_now where id = held.id;
        insert into security_events
            (request_id, ip, user_agent, occurred_at, type, user_id, username, session_id, details)
          values (p_request_id, p_ip, p_user_agent, p_now, 'refresh_token_reused', held.user_id, name,
            held.id, '{}');
        return;
      end if;
      outcome := 'live';
      sid := held.id;
      user_id := held.user_id;
      expires_at := held.expires_at;
      auth_time := held.auth_time;
      amr := held.amr;
    end
    $$;
    revoke execute on function refresh_session from public;
    grant execute on function refresh_session to tasktrail_auth;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop function refresh_session;
    drop table refresh_tokens;
    alter table sessions drop column auth_time, drop column amr;
  `)
}
