//! Repairs of data that CodaLab 1.7 stored wrongly, once, after its database was taken over (data-model section 20.5).

use domain::Result;

use super::Session;

/// Runs the repairs if the database was taken over and they have not been done. Each may run twice without harm to what
/// it repaired: repaired text is not valid double-encoded text any more.
pub(super) async fn repair_if_adopted(session: &mut Session) -> Result<()> {
    let pending = session
        .count("SELECT COUNT(*) FROM `setting` WHERE `name` = 'repair_1_7' AND `value` = 'pending'")
        .await?;
    if pending == 0 {
        return Ok(());
    }
    let titles = repair_column(session, "worksheet", "title").await?;
    let items = repair_column(session, "worksheet_item", "value").await?;
    let users = repair_disk_used(session).await?;
    session
        .execute_one("UPDATE `setting` SET `value` = 'done' WHERE `name` = 'repair_1_7'")
        .await?;
    tracing::info!(
        titles,
        items,
        users,
        "repaired text encoding and disk usage of the CodaLab 1.7 database"
    );
    Ok(())
}

/// Undoes the double encoding of a text column; gives the number of changed rows.
async fn repair_column(session: &mut Session, table: &str, column: &str) -> Result<usize> {
    const BATCH: usize = 1000;
    let (mut last_id, mut repaired) = (0, 0);
    loop {
        // Only texts with bytes above ASCII can be affected.
        let sql = format!(
            "SELECT `id`, `{column}` FROM `{table}` WHERE `id` > {last_id} \
             AND `{column}` <> CONVERT(`{column}` USING ascii) ORDER BY `id` LIMIT {BATCH}"
        );
        let rows = session.rows(&sql).await?;
        let full = rows.len() == BATCH;
        for mut row in rows {
            last_id = row.int()?;
            let text = row.text()?;
            if let Some(right) = undo_double_encoding(&text) {
                let sql = format!("UPDATE `{table}` SET `{column}` = ? WHERE `id` = {last_id}");
                session.execute_with(&sql, &[&right]).await?;
                repaired += 1;
            }
        }
        if !full {
            return Ok(repaired);
        }
    }
}

/// Sets every user's `disk_used` to the sum over the bundles: the old single-precision value is rounded.
async fn repair_disk_used(session: &mut Session) -> Result<usize> {
    let sql = "SELECT `u`.`user_id`, `u`.`disk_used`, CAST(COALESCE(`s`.`total`, 0) AS SIGNED) FROM `user` `u` LEFT JOIN (\
        SELECT `b`.`owner_id`, SUM(CAST(`m`.`metadata_value` AS SIGNED)) AS `total` FROM `bundle` `b` \
        JOIN `bundle_metadata` `m` ON `m`.`bundle_uuid` = `b`.`uuid` AND `m`.`metadata_key` = 'data_size' \
        AND `m`.`id` = (SELECT MAX(`x`.`id`) FROM `bundle_metadata` `x` \
          WHERE `x`.`bundle_uuid` = `b`.`uuid` AND `x`.`metadata_key` = 'data_size') \
        GROUP BY `b`.`owner_id`) `s` ON `s`.`owner_id` = `u`.`user_id`";
    let mut repaired = 0;
    for mut row in session.rows(sql).await? {
        let (user_id, was, is) = (row.text()?, row.int()?, row.int()?);
        if was != is {
            session
                .execute_with(
                    &format!("UPDATE `user` SET `disk_used` = {is} WHERE `user_id` = ?"),
                    &[&user_id],
                )
                .await?;
            repaired += 1;
        }
    }
    Ok(repaired)
}

/// CodaLab 1.7 sent UTF-8 bytes as if they were Latin-1 text. Gives the text as it was meant, or none if it is fine.
pub(super) fn undo_double_encoding(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let bytes: Option<Vec<u8>> = text.chars().map(latin1_byte).collect();
    let decoded = String::from_utf8(bytes?).ok()?;
    (decoded != text).then_some(decoded)
}

/// The byte of a character in MySQL's `latin1`: Windows-1252, its five holes mapped to themselves.
fn latin1_byte(c: char) -> Option<u8> {
    const HIGH: [(char, u8); 27] = [
        ('€', 0x80),
        ('‚', 0x82),
        ('ƒ', 0x83),
        ('„', 0x84),
        ('…', 0x85),
        ('†', 0x86),
        ('‡', 0x87),
        ('ˆ', 0x88),
        ('‰', 0x89),
        ('Š', 0x8a),
        ('‹', 0x8b),
        ('Œ', 0x8c),
        ('Ž', 0x8e),
        ('‘', 0x91),
        ('’', 0x92),
        ('“', 0x93),
        ('”', 0x94),
        ('•', 0x95),
        ('–', 0x96),
        ('—', 0x97),
        ('˜', 0x98),
        ('™', 0x99),
        ('š', 0x9a),
        ('›', 0x9b),
        ('œ', 0x9c),
        ('ž', 0x9e),
        ('Ÿ', 0x9f),
    ];
    match c as u32 {
        code @ 0..=0xff => u8::try_from(code).ok(),
        _ => HIGH.iter().find(|(high, _)| *high == c).map(|(_, byte)| *byte),
    }
}

#[cfg(test)]
mod tests {
    use super::undo_double_encoding;

    #[test]
    fn double_encoded_text_is_repaired_and_the_rest_left_alone() {
        for (stored, meant) in [
            ("plain", None),
            ("Ã©", Some("é")),
            ("â‚¬", Some("€")),
            ("ðŸ˜€ ok", Some("😀 ok")),
            ("é", None),
            ("中文", None),
            ("Ã", None),
        ] {
            assert_eq!(undo_double_encoding(stored).as_deref(), meant, "{stored}");
        }
    }
}
