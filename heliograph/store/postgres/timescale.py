"""TimescaleDB in place of monthly partitions of `reading`: chunks of a week, compressed once they are old.

Only where `CREATE EXTENSION timescaledb` was run in the database before its first storage, and the edition compresses:
the Apache edition, which Debian packages, does not, and without compression chunks are no better than months.
"""

WEEK = 7 * 86_400_000  # ms
COMPRESSED_AFTER = 4 * WEEK  # readings that come late still find a plain chunk

# one row if old chunks can be compressed: https://docs.timescale.com/about/latest/timescaledb-editions/
COMPRESSES = """
SELECT 1 FROM pg_extension WHERE extname = 'timescaledb' AND current_setting('timescaledb.license', true) = 'timescale'
"""
HYPERTABLE = f"""
SELECT create_hypertable('heliograph.reading', 'ts', chunk_time_interval => {WEEK}::bigint);
ALTER TABLE heliograph.reading SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'series', timescaledb.compress_orderby = 'ts'
)"""
# one chunk that is due; parameters: chunks that end before this time, ms UTC
COMPRESS = """
SELECT compress_chunk(format('%%I.%%I', chunk_schema, chunk_name)::regclass)
FROM timescaledb_information.chunks
WHERE hypertable_schema = 'heliograph' AND hypertable_name = 'reading'
    AND NOT is_compressed AND range_end_integer < %s
ORDER BY range_end_integer LIMIT 1
"""
DROP = "SELECT drop_chunks('heliograph.reading', older_than => %s::bigint)"
SIZE = "SELECT coalesce(hypertable_size('heliograph.reading'), 0)"
