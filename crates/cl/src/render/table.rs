//! Plain-text tables: columns two blanks apart, every cell padded, a line of dashes under the header.

/// A table under construction.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new<S: Into<String>>(header: impl IntoIterator<Item = S>) -> Self {
        let header: Vec<String> = header.into_iter().map(Into::into).collect();
        let right = vec![false; header.len()];
        Self {
            header,
            right,
            rows: Vec::new(),
        }
    }

    /// Justifies the columns of these names right.
    pub fn right(mut self, names: &[&str]) -> Self {
        for (name, right) in self.header.iter().zip(&mut self.right) {
            *right |= names.contains(&name.as_str());
        }
        self
    }

    /// Adds a row; missing cells are empty, surplus ones dropped.
    pub fn row(&mut self, cells: Vec<String>) {
        let mut cells = cells;
        cells.resize(self.header.len(), String::new());
        self.rows.push(cells);
    }

    /// The lines, each ended by a newline.
    pub fn render(&self) -> String {
        self.lines().into_iter().map(|line| line + "\n").collect()
    }

    /// Header, dashes and rows. A cell with line breaks in it makes a line with line breaks.
    pub fn lines(&self) -> Vec<String> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.header[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let total = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
        let mut lines = vec![self.line(&self.header, &widths), "-".repeat(total)];
        lines.extend(self.rows.iter().map(|row| self.line(row, &widths)));
        lines
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let padded = cells.iter().zip(widths).zip(&self.right);
        let padded = padded.map(|((cell, &width), right)| {
            if *right {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        padded.collect::<Vec<_>>().join("  ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_padded_including_the_last_and_right_columns_take_the_header_along() {
        let mut table = Table::new(["ref", "name", "size"]).right(&["ref", "size"]);
        table.row(vec!["^10".into(), "é".into(), "1k".into()]);
        table.row(vec!["^9".into(), "longer".into()]);
        assert_eq!(
            table.render(),
            "ref  name    size\n-----------------\n^10  é         1k\n ^9  longer      \n"
        );
    }

    #[test]
    fn an_empty_table_is_header_and_dashes() {
        assert_eq!(Table::new(["a", "b"]).render(), "a  b\n----\n");
    }
}
