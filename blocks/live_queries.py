"""The questions to PostgreSQL's catalog, each asked once for all tables."""

from __future__ import annotations

#: How many names of other tables are read when one is not there, to say which was meant.
NEIGHBOURS = 5000

# A partitioned table is never counted by autovacuum: its rows are those of its partitions.
TABLES = """
SELECT given.name, c.oid, n.nspname, c.relname, c.relkind::text, CASE WHEN c.relkind <> 'p' THEN c.reltuples ELSE (
           SELECT coalesce(sum(l.reltuples) FILTER (WHERE l.reltuples >= 0), -1)
           FROM pg_partition_tree(c.oid) leaf JOIN pg_class l ON l.oid = leaf.relid WHERE leaf.isleaf) END::float8,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_total_relation_size(c.oid) ELSE coalesce((
           SELECT sum(pg_total_relation_size(leaf.relid)) FROM pg_partition_tree(c.oid) leaf WHERE leaf.isleaf), 0)
       END::bigint,
       has_table_privilege(c.oid, 'SELECT'),
       has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'INSERT')
           AND has_table_privilege(c.oid, 'DELETE'),
       row_security_active(c.oid), has_schema_privilege(n.oid, 'USAGE'), pg_has_role(c.relowner, 'USAGE'),
       has_table_privilege(c.oid, 'REFERENCES'),
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid AND c.relkind <> 'p'),
       EXISTS (SELECT FROM pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type <> '1')
FROM unnest(%(names)s::text[], %(schemas)s::text[], %(tables)s::text[]) AS given (name, schema, relation)
JOIN pg_namespace n ON n.nspname = given.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = given.relation AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
NAMES = """
SELECT CASE WHEN n.nspname = %(schema)s THEN c.relname ELSE n.nspname || '.' || c.relname END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1 LIMIT %(most)s
"""
SCHEMA_TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname
"""
# A domain may be of a domain, and each of them may refuse NULL.
COLUMNS = """
WITH RECURSIVE domain (oid, base, filled) AS (
    SELECT t.oid, t.typbasetype, t.typnotnull FROM pg_type t WHERE t.typtype = 'd'
    UNION ALL
    SELECT d.oid, t.typbasetype, d.filled OR t.typnotnull
    FROM domain d JOIN pg_type t ON t.oid = d.base AND t.typtype = 'd'
)
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), b.typcategory::text,
       NOT (a.attnotnull OR coalesce(d.filled, false)), a.attgenerated <> '', a.attidentity = 'a',
       format_type(b.oid, NULL)
FROM pg_attribute a
LEFT JOIN (domain d JOIN pg_type r ON r.oid = d.base AND r.typtype <> 'd') ON d.oid = a.atttypid
JOIN pg_type b ON b.oid = coalesce(d.base, a.atttypid)
WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
# One that belongs to the column (serial, identity), or that its default asks.
SEQUENCES = """
WITH filled (relation, number, sequence) AS (
    SELECT d.refobjid, d.refobjsubid, d.objid FROM pg_depend d
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (%(oids)s)
      AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
    UNION
    SELECT f.adrelid, f.adnum, d.refobjid FROM pg_attrdef f
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid AND d.refclassid = 'pg_class'::regclass
    WHERE f.adrelid = ANY (%(oids)s)
)
SELECT f.relation, a.attname, n.nspname, s.relname, has_schema_privilege(n.oid, 'USAGE')
           AND has_sequence_privilege(s.oid, 'SELECT'), has_sequence_privilege(s.oid, 'UPDATE')
FROM filled f JOIN pg_class s ON s.oid = f.sequence AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_attribute a ON a.attrelid = f.relation AND a.attnum = f.number
ORDER BY s.oid DESC
"""
INDEXES = """
SELECT i.indrelid, i.indisprimary, i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL,
       i.indpred IS NULL AND i.indexprs IS NULL,
       array(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
             WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM pg_index i WHERE i.indrelid = ANY (%s) AND i.indisvalid
"""
# With its partitions: a key may point to one of them, and what PostgreSQL derived for them is not said twice.
_PARTS = """
WITH RECURSIVE part (root, oid) AS (
    SELECT t, t FROM unnest(%(oids)s::oid[]) AS t
    UNION SELECT p.root, i.inhrelid FROM part p JOIN pg_inherits i ON i.inhparent = p.oid
    JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
"""
KEYS = (
    _PARTS  # noqa: S608 - both parts are written here
    + """
SELECT p.root, inward, o.conname, child_schema.nspname, child.relname,
       array(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.number ORDER BY k.place),
       parent_schema.nspname, parent.relname,
       array(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.number ORDER BY k.place),
       o.confdeltype::text, o.convalidated
FROM pg_constraint o CROSS JOIN (VALUES (true), (false)) AS side (inward)
JOIN part p ON p.oid = CASE WHEN inward THEN o.confrelid ELSE o.conrelid END AND (inward OR p.oid = p.root)
JOIN pg_class child ON child.oid = o.conrelid JOIN pg_namespace child_schema ON child_schema.oid = child.relnamespace
JOIN pg_class parent ON parent.oid = o.confrelid
JOIN pg_namespace parent_schema ON parent_schema.oid = parent.relnamespace
WHERE o.contype = 'f' AND coalesce(to_jsonb(o) ->> 'conenforced', 'true') = 'true' AND NOT EXISTS (
    SELECT FROM pg_constraint above JOIN part q ON q.root = p.root
        AND q.oid = CASE WHEN inward THEN above.confrelid ELSE above.conrelid END
    WHERE above.oid = o.conparentid)
ORDER BY o.conname
"""
)
# 28 are the bits of INSERT, DELETE and UPDATE; R fires on a subscriber only.
TRIGGERS = (
    _PARTS
    + """
SELECT DISTINCT p.root, t.tgname FROM pg_trigger t JOIN part p ON p.oid = t.tgrelid
WHERE NOT t.tgisinternal AND t.tgenabled NOT IN ('D', 'R') AND t.tgtype & 28 <> 0 ORDER BY t.tgname
"""
)
# The extension may be in any schema, and its functions may be executed by nobody but a superuser.
SERVER = """
SELECT current_setting('server_version_num')::int, n.nspname, p.proname, has_schema_privilege(n.oid, 'USAGE')
       AND has_function_privilege(p.oid, 'EXECUTE')
FROM (VALUES (true)) AS one LEFT JOIN (pg_extension e
    JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
        AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
    JOIN pg_proc p ON p.oid = d.objid AND p.proname = 'bt_index_check' AND p.pronargs = 2
    JOIN pg_namespace n ON n.oid = p.pronamespace) ON e.extname = 'amcheck'
"""
