//! Documents: rows with a version, changed all or none.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::failure::Run;
use super::rows::{sql, unsql};
use crate::base::clock::Millis;
use crate::store::documents::{Collection, Document, DocumentWrite};

pub(super) fn document(conn: &Connection, collection: Collection, key: &str, now: Millis) -> Run<Option<Document>> {
    let mut statement = conn.prepare_cached(
        "SELECT key, version, value FROM documents \
         WHERE collection = ?1 AND key = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
    )?;
    Ok(statement.query_row(params![collection.as_str(), key, sql(now)], read).optional()?)
}

pub(super) fn documents(conn: &Connection, collection: Collection, now: Millis) -> Run<Vec<Document>> {
    let mut statement = conn.prepare_cached(
        "SELECT key, version, value FROM documents \
         WHERE collection = ?1 AND (expires_at IS NULL OR expires_at > ?2) ORDER BY key",
    )?;
    let rows = statement.query_map(params![collection.as_str(), sql(now)], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn documents_before(
    conn: &Connection,
    collection: Collection,
    before: Option<&str>,
    limit: usize,
    now: Millis,
) -> Run<Vec<Document>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let select = |below: &str| {
        format!(
            "SELECT key, version, value FROM documents \
             WHERE collection = ?1 AND (expires_at IS NULL OR expires_at > ?2){below} ORDER BY key DESC LIMIT ?3"
        )
    };
    let rows = match before {
        None => conn
            .prepare_cached(&select(""))?
            .query_map(params![collection.as_str(), sql(now), limit], read)?
            .collect::<Result<_, _>>()?,
        Some(before) => conn
            .prepare_cached(&select(" AND key < ?4"))?
            .query_map(params![collection.as_str(), sql(now), limit, before], read)?
            .collect::<Result<_, _>>()?,
    };
    Ok(rows)
}

/// Makes all changes or none; `false`: none. Runs in the writer's transaction, and looks before it writes.
pub(super) fn write(conn: &Connection, writes: &[DocumentWrite], now: Millis) -> Run<bool> {
    conn.prepare_cached("DELETE FROM documents WHERE expires_at <= ?1")?.execute([sql(now)])?;
    let mut version = conn.prepare_cached("SELECT version FROM documents WHERE collection = ?1 AND key = ?2")?;
    for write in writes {
        let found: Option<i64> =
            version.query_row(params![write.collection.as_str(), write.key], |row| row.get(0)).optional()?;
        if found.map(unsql) != write.expected {
            return Ok(false);
        }
    }
    let mut next = conn.prepare_cached("UPDATE document_versions SET last = last + 1 RETURNING last")?;
    let mut put = conn.prepare_cached(
        "INSERT OR REPLACE INTO documents (collection, key, version, value, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut remove = conn.prepare_cached("DELETE FROM documents WHERE collection = ?1 AND key = ?2")?;
    for DocumentWrite { collection, key, expected: _, value, expires_at } in writes {
        match value {
            Some(value) => {
                let version: i64 = next.query_row([], |row| row.get(0))?;
                put.execute(params![collection.as_str(), key, version, value, expires_at.map(sql)])?
            }
            None => remove.execute(params![collection.as_str(), key])?,
        };
    }
    Ok(true)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Document> {
    Ok(Document { key: row.get(0)?, version: unsql(row.get(1)?), value: row.get(2)? })
}
