-- name: schemas
-- What every schema says of itself.
SELECT nspname AS name, coalesce(obj_description(oid, 'pg_namespace'), '') AS said FROM pg_namespace

-- name: ground
-- Whether a schema may be made here, and who would be sent what is loaded into it.
SELECT has_database_privilege(current_database(), 'CREATE') AS may_create,
       (SELECT string_agg(quote_ident(pubname), ', ') FROM pg_publication WHERE puballtables) AS published,
       ARRAY(SELECT DISTINCT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind = 'p') AS partitioned

-- name: tables
-- What each of the tables is, and why it cannot be copied, if so.
SELECT w.schema, w.name, c.oid IS NOT NULL AS there,
       CASE WHEN c.oid IS NULL THEN 'there is none'
            WHEN c.relkind NOT IN ('r', 'p') THEN 'it is a ' || CASE c.relkind
                 WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialised view' WHEN 'f' THEN 'foreign table'
                 WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' WHEN 'c' THEN 'type' ELSE 'thing of its own kind' END
                 || ', not a table'
            WHEN c.relpersistence = 'u' THEN 'it is unlogged, so no backup has its rows'
            WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                            AND d.deptype = 'e') THEN 'it belongs to an extension'
            WHEN EXISTS (SELECT FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
                          WHERE c.oid IN (i.inhrelid, i.inhparent) AND p.relkind = 'r')
                 THEN 'it inherits from another table, or another from it'
            ELSE '' END AS unfit,
       CASE WHEN c.relkind = 'p'
            THEN (SELECT coalesce(sum(pg_total_relation_size(relid)), 0) FROM pg_partition_tree(c.oid))
            WHEN c.relkind = 'r' THEN pg_total_relation_size(c.oid) ELSE 0 END::bigint AS bytes
  FROM (VALUES {tables}) AS w(schema, name)
  LEFT JOIN pg_namespace n ON n.nspname = w.schema
  LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name

-- name: detaching
-- Statements, for the copy: a partition that is wanted alone becomes a table of its own.
SELECT format('ALTER TABLE %I.%I DETACH PARTITION %I.%I', pn.nspname, p.relname, n.nspname, c.relname) AS statement
  FROM (VALUES {tables}) AS w(schema, name)
  JOIN pg_namespace n ON n.nspname = w.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name AND c.relispartition
  JOIN pg_inherits i ON i.inhrelid = c.oid
  JOIN pg_class p ON p.oid = i.inhparent
  JOIN pg_namespace pn ON pn.oid = p.relnamespace

-- name: baring
-- Statements, for the copy: take away what reaches beyond the tables, then put them and their partitions into {into}.
WITH wanted AS (
    SELECT c.oid FROM (VALUES {tables}) AS w(schema, name)
      JOIN pg_namespace n ON n.nspname = w.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
), parts AS (
    SELECT oid FROM wanted UNION SELECT relid FROM wanted, LATERAL pg_partition_tree(oid)
), named AS (
    SELECT p.oid, format('%I.%I', n.nspname, c.relname) AS label, c.relrowsecurity
      FROM parts p JOIN pg_class c ON c.oid = p.oid JOIN pg_namespace n ON n.oid = c.relnamespace
)
SELECT 1 AS turn, format('ALTER TABLE %s DROP CONSTRAINT %I', t.label, k.conname) AS statement
  FROM named t JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f' AND k.conparentid = 0
UNION ALL
SELECT 1, format('DROP TRIGGER %I ON %s', g.tgname, t.label)
  FROM named t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgparentid = 0
UNION ALL
SELECT 1, format('DROP RULE %I ON %s', r.rulename, t.label) FROM named t JOIN pg_rewrite r ON r.ev_class = t.oid
UNION ALL
SELECT 1, format('DROP POLICY %I ON %s', p.polname, t.label) FROM named t JOIN pg_policy p ON p.polrelid = t.oid
UNION ALL
SELECT 2, format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', label) FROM named WHERE relrowsecurity
UNION ALL
SELECT 3, format('ALTER TABLE %s SET SCHEMA %I', label, {into}) FROM named
 ORDER BY 1, 2

-- name: pouring
-- End whoever still loads copies: the lease says that no living run does.
SELECT count(pg_terminate_backend(pid, 5000)) AS ended FROM pg_stat_activity
 WHERE application_name = {application} AND datname = current_database() AND pid <> pg_backend_pid()

-- name: inside
-- The tables of a schema.
SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = {into} AND c.relkind IN ('r', 'p') ORDER BY 1

-- name: content
-- How many rows a table has, and a number that is another one when any of them is.
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET extra_float_digits = 1;
SET bytea_output = 'hex';
SET lc_monetary = 'C';
SELECT count(*) AS rows, coalesce(sum(hashtextextended(ROW(x.*)::text, 0)::numeric), 0)::text AS sum FROM {table} AS x

-- name: ways
-- For each copy the statements that show what differs in production's own table, count it, and bring back what is gone.
WITH pairs AS (
    SELECT w.schema, w.name, s.oid AS side, o.oid AS own
      FROM (VALUES {tables}) AS w(schema, name)
      JOIN pg_class s ON s.relname = w.name AND s.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = {into})
      LEFT JOIN pg_namespace n ON n.nspname = w.schema
      LEFT JOIN pg_class o ON o.relnamespace = n.oid AND o.relname = w.name AND o.relkind IN ('r', 'p')
), keys AS (
    SELECT p.side, a.attnum, a.attname FROM pairs p JOIN pg_index i ON i.indrelid = p.side AND i.indisprimary
      JOIN pg_attribute a ON a.attrelid = p.side AND a.attnum = ANY (i.indkey)
), shared AS (
    SELECT p.side, s.attname, s.attnum, o.attgenerated, o.attidentity,
           EXISTS (SELECT FROM keys k WHERE k.side = p.side AND k.attname = s.attname) AS key
      FROM pairs p JOIN pg_attribute s ON s.attrelid = p.side AND s.attnum > 0 AND NOT s.attisdropped
      JOIN pg_attribute o ON o.attrelid = p.own AND o.attname = s.attname AND o.attnum > 0 AND NOT o.attisdropped
), columns AS (
    SELECT side, string_agg(quote_ident(attname), ', ' ORDER BY attnum) FILTER (WHERE attgenerated = '') AS written,
           string_agg(quote_ident(attname), ', ' ORDER BY attnum) FILTER (WHERE key) AS key,
           min(quote_ident(attname)) FILTER (WHERE key) AS one,
           count(*) FILTER (WHERE key) = (SELECT count(*) FROM keys k WHERE k.side = shared.side) AS keyed,
           coalesce(string_agg(format('s.%1$I::text IS DISTINCT FROM o.%1$I::text', attname), ' OR ' ORDER BY attnum)
                    FILTER (WHERE NOT key), 'false') AS differs,
           coalesce(bool_or(attidentity = 'a'), false) AS fixed
      FROM shared GROUP BY side
), joined AS (
    SELECT p.*, c.*, format('%I.%I', {into}, p.name) AS copy, format('%I.%I', p.schema, p.name) AS label,
           format('%I.%I s LEFT JOIN %I.%I o USING (%s)', {into}, p.name, p.schema, p.name, c.key) AS joint
      FROM pairs p LEFT JOIN columns c USING (side)
)
SELECT schema, name,
       CASE WHEN own IS NULL THEN format('ALTER TABLE %s SET SCHEMA %I', copy, schema)
            ELSE format('INSERT INTO %s (%s)%s SELECT %s FROM %s ON CONFLICT DO NOTHING', label, written,
                        CASE WHEN fixed THEN ' OVERRIDING SYSTEM VALUE' ELSE '' END, written, copy) END AS back,
       CASE WHEN keyed AND one IS NOT NULL
            THEN format('SELECT s.* FROM %s WHERE o.%s IS NULL OR %s', joint, one, differs) END AS look,
       CASE WHEN keyed AND one IS NOT NULL
            THEN format('SELECT count(*) FILTER (WHERE o.%1$s IS NULL) AS missing, '
                        'count(*) FILTER (WHERE o.%1$s IS NOT NULL AND (%2$s)) AS different FROM %3$s',
                        one, differs, joint) END AS counting
  FROM joined
