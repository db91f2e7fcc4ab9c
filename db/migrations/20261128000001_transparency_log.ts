import type { Knex } from 'knex'

// The log as a transparency log (C2SP tlog-tiles): every event behind the safe position is a leaf of a Merkle tree
// (RFC 6962), whose root the worker signs with a key that is not in the database. docs/proof.md says what that
// proves. Where a leaf's entry is not an event, it is the digest of the next accesses and security events.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- 32 bytes for each of up to 256 hashes. A tile grows at its end until it is full.
    create table log_tiles (
      level smallint not null check (level between 0 and 7),
      n bigint not null check (n >= 0),
      hashes bytea not null check (length(hashes) between 32 and 8192 and length(hashes) % 32 = 0),
      primary key (level, n)
    );
    alter table log_tiles alter column hashes set storage external;

    -- What the leaves of tile n of level 0 are: [position, stream_id, version] of an event, or null where log_records
    -- has the leaf. An entry is made of that and the event's hash: src/verifier/entries.ts.
    create table log_bundles (
      n bigint primary key check (n >= 0),
      -- Of its first event; null if it has none yet.
      first_position bigint,
      places jsonb not null check (jsonb_array_length(places) between 1 and 256)
    );
    create unique index log_bundles_by_position on log_bundles (first_position);

    -- A leaf that covers accesses and security events: how far it goes in each table, 45 bytes for each row that is
    -- new in it (src/verifier/records.ts), and the digest of all that. A mark outlives its row: it says how old a
    -- missing row would be now.
    create table log_records (
      leaf bigint primary key check (leaf >= 0),
      access_id bigint not null,
      security_event_id bigint not null,
      marks bytea not null,
      digest bytea not null
    );

    -- One row. What the worker signs next must extend it.
    create table log_checkpoint (
      id smallint primary key default 1 check (id = 1),
      size bigint not null default 0 check (size >= 0),
      root bytea not null default sha256('') check (length(root) = 32),
      -- How far the leaves go in events, audit_accesses and security_events.
      position bigint not null default 0,
      access_id bigint not null default 0,
      security_event_id bigint not null default 0,
      -- Signed by the log; null before the first.
      note text,
      -- The last one that enough witnesses have cosigned, which is the one that others see.
      published_size bigint not null default 0,
      published_position bigint not null default 0,
      published_note text,
      published_at timestamptz,
      -- Of the keys that sign, a line each, for those who verify.
      verifier_keys text
    );
    insert into log_checkpoint default values;

    create function refuse_to_shrink() returns trigger
    language plpgsql set search_path = public, pg_temp as $$
    begin
      if tg_table_name = 'log_tiles' then
        if (new.level, new.n) = (old.level, old.n)
          and substr(new.hashes, 1, length(old.hashes)) = old.hashes then return new; end if;
      elsif tg_table_name = 'log_bundles' then
        if new.n = old.n and (old.first_position is null or new.first_position = old.first_position)
          and jsonb_array_length(new.places) >= jsonb_array_length(old.places)
          and (new.places -> jsonb_array_length(old.places) - 1)
            = (old.places -> jsonb_array_length(old.places) - 1)
        then return new; end if;
      elsif new.size >= old.size and new.position >= old.position
        and new.published_size >= old.published_size and (new.size > old.size or new.root = old.root) then
        return new;
      end if;
      raise exception '% only grows', tg_table_name using errcode = '23001';
    end
    $$;
    create trigger log_tiles_only_grow before update on log_tiles
      for each row execute function refuse_to_shrink();
    create trigger log_bundles_only_grow before update on log_bundles
      for each row execute function refuse_to_shrink();
    create trigger log_checkpoint_only_grows before update on log_checkpoint
      for each row execute function refuse_to_shrink();
    create trigger log_tiles_stay before delete or truncate on log_tiles
      for each statement execute function refuse_change();
    create trigger log_bundles_stay before delete or truncate on log_bundles
      for each statement execute function refuse_change();
    create trigger log_records_are_append_only before update or delete or truncate on log_records
      for each statement execute function refuse_change();
    create trigger log_checkpoint_stays before delete or truncate on log_checkpoint
      for each statement execute function refuse_change();
    alter table log_tiles enable always trigger log_tiles_only_grow, enable always trigger log_tiles_stay;
    alter table log_bundles enable always trigger log_bundles_only_grow,
      enable always trigger log_bundles_stay;
    alter table log_records enable always trigger log_records_are_append_only;
    alter table log_checkpoint enable always trigger log_checkpoint_only_grows,
      enable always trigger log_checkpoint_stays;

    grant select, insert on log_tiles, log_bundles, log_records to tasktrail_worker;
    grant update (hashes) on log_tiles to tasktrail_worker;
    grant update (first_position, places) on log_bundles to tasktrail_worker;
    grant select, update on log_checkpoint to tasktrail_worker;
    grant select on log_tiles, log_bundles, log_records, log_checkpoint to tasktrail_task, tasktrail_auditor;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table log_tiles, log_bundles, log_records, log_checkpoint;
    drop function refuse_to_shrink;
  `)
}
