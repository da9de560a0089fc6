//! Text aligned by elastic tab stops: the cells of neighbouring lines stand in columns, as kubectl's `describe` aligns.

/// Aligns the cells that end in tabs. A column is a run of lines that all have that cell; it is as wide as its widest
/// cell and `padding`.
pub fn align(text: &str, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < lines.len() {
            let run = widths[start..]
                .iter()
                .take_while(|widths| widths.len() > column)
                .count();
            let width = (start..start + run)
                .map(|line| lines[line][column].chars().count())
                .max()
                .unwrap_or(0)
                + padding;
            for line in &mut widths[start..start + run] {
                line[column] = width;
            }
            start += run.max(1);
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        let start = out.len();
        for (index, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            let room = widths.get(index).map_or(0, |width| width - cell.chars().count());
            out.extend(std::iter::repeat_n(' ', room));
        }
        out.truncate(start + out[start..].trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_runs_of_lines() {
        let text = "Name:\tweb\nNamespace:\tdefault\nIPs:\n  IP:\t10.0.0.1\nControlled By:\tx\nEvents:\t<none>\n";
        let expected = "Name:       web\nNamespace:  default\nIPs:\n  IP:           10.0.0.1\nControlled By:  x\n\
                        Events:         <none>\n";
        assert_eq!(super::align(text, 2), expected);
        assert_eq!(super::align("a\t\tb\nccc\td\te\n", 2), "a       b\nccc  d  e\n");
    }
}
