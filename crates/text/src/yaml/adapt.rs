//! Conversion of YAML that `kubectl` accepts and YAML 1.2 forbids.
//!
//! `kubectl`, Helm and kustomize read YAML with go-yaml, a port of libyaml. Both accept more than
//! YAML 1.2 in a few places ([`Fix`]), and the parser does not. Such a text is scanned like in
//! libyaml, and a few characters are inserted or removed. Each byte of the adapted text is mapped
//! to the source, so that nodes have ranges and positions of the source.
//!
//! Source: libyaml, `src/scanner.c`; go-yaml v2, `scannerc.go`.

/// A changed text with the same meaning as its source.
pub(super) struct Adapted {
    /// The text that the parser reads in place of the source.
    pub(super) text: String,
    pieces: Vec<Piece>,
    /// Character that replaces byte order marks within scalars; `None` if there are none.
    stand_in: Option<char>,
}

/// A part of the changed text, which ends at the next piece.
struct Piece {
    /// Offset of the first byte in the changed text.
    start: usize,
    /// Offset in the source: of the first copied byte, or of the byte after an insertion.
    source: usize,
    /// True if the piece is copied from the source; false for an insertion.
    is_copied: bool,
}

impl Adapted {
    /// Returns the offset in the source that corresponds to offset `at` in the changed text.
    pub(super) fn source_of(&self, at: usize) -> usize {
        let next = self.pieces.partition_point(|piece| piece.start <= at);
        let Some(piece) = next.checked_sub(1).map(|index| &self.pieces[index]) else { return at };
        if piece.is_copied { piece.source + (at - piece.start) } else { piece.source }
    }

    /// Returns the value in the source of a scalar whose value is `value` in the changed text.
    pub(super) fn value_of(&self, value: &str) -> String {
        match self.stand_in {
            Some(stand_in) => value.replace(stand_in, &BOM.to_string()),
            None => value.to_owned(),
        }
    }
}

/// A change to the source.
enum Fix {
    /// Inserts this number of spaces. Lines need them that continue a quoted scalar at or left of
    /// its key, and lines of a flow collection that begin with a tab. A comment needs one directly
    /// after a token.
    Spaces(usize),
    /// Inserts a quote. A dash that is a whole scalar in a flow collection needs two.
    Quote,
    /// Removes this number of bytes, those of a byte order mark before a later document or of the
    /// backslash of `\'` in double quotes.
    Skip(usize),
    /// Replaces a byte order mark in a plain scalar by the stand-in.
    StandIn,
}

/// Returns `source` in a form that the parser accepts; `None` if no known fix applies.
pub(super) fn adapt(source: &str) -> Option<Adapted> {
    let mut scanner = Scanner::new(source);
    scanner.run();
    if scanner.changes.is_empty() {
        return None;
    }
    let mut adapted =
        Adapted { text: String::with_capacity(source.len()), pieces: Vec::new(), stand_in: None };
    let mut copied = 0;
    for (at, change) in scanner.changes {
        adapted.copy(source, copied, at);
        copied = at;
        match change {
            Fix::Spaces(count) => adapted.put(at, &" ".repeat(count)),
            Fix::Quote => adapted.put(at, "\""),
            Fix::Skip(bytes) => copied = at + bytes,
            Fix::StandIn => {
                // A character for private use that does not occur in the source.
                let unused = |character: &char| !source.contains(*character);
                let stand_in = adapted.stand_in.or_else(|| ('\u{e000}'..='\u{f8ff}').find(unused));
                adapted.stand_in = stand_in;
                adapted.put(at, &stand_in.map(String::from).unwrap_or_default());
                copied = at + BOM.len_utf8();
            }
        }
    }
    adapted.copy(source, copied, source.len());
    Some(adapted)
}

impl Adapted {
    /// Appends a range of the source.
    fn copy(&mut self, source: &str, from: usize, to: usize) {
        self.pieces.push(Piece { start: self.text.len(), source: from, is_copied: true });
        self.text.push_str(source.get(from..to).unwrap_or_default());
    }

    /// Appends `text`, inserted at offset `before` of the source.
    fn put(&mut self, before: usize, text: &str) {
        self.pieces.push(Piece { start: self.text.len(), source: before, is_copied: false });
        self.text.push_str(text);
    }
}

const BOM: char = '\u{feff}';

/// A scanner that skips tokens like libyaml and collects fixes. Invalid YAML is skipped without an
/// error, because the parser finds errors later.
struct Scanner<'s> {
    source: &'s str,
    /// Offset of the current byte.
    at: usize,
    /// Number of characters before the current one on its line.
    column: usize,
    /// Number of lines before the current one.
    line: usize,
    /// True in front of a document's first token.
    is_prefix: bool,
    /// Nesting depth of flow collections.
    flow: usize,
    /// Columns of the open block collections, outermost first.
    indents: Vec<usize>,
    /// True if a key without `?` may begin here.
    may_be_key: bool,
    /// Line and column of a possible key, for each flow level.
    keys: Vec<Option<(usize, usize)>>,
    /// Offsets and fixes, in the order of the text.
    changes: Vec<(usize, Fix)>,
}

impl<'s> Scanner<'s> {
    fn new(source: &'s str) -> Self {
        Self {
            source,
            at: 0,
            column: 0,
            line: 0,
            is_prefix: true,
            flow: 0,
            indents: Vec::new(),
            may_be_key: true,
            keys: vec![None],
            changes: Vec::new(),
        }
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Skips a character. CRLF counts as one.
    fn bump(&mut self) {
        let Some(character) = self.peek() else { return };
        self.at += character.len_utf8();
        if character == '\r' && self.peek() == Some('\n') {
            self.at += 1;
        }
        if is_break(character) {
            self.column = 0;
            self.line += 1;
        } else {
            self.column += 1;
        }
    }

    fn bump_while(&mut self, mut accept: impl FnMut(char) -> bool) {
        while self.peek().is_some_and(&mut accept) {
            self.bump();
        }
    }

    /// Returns the least column of a continued value in the innermost block collection: its own
    /// column plus two, because the parser requires one column more than the content.
    fn content_column(&self) -> usize {
        self.indents.last().map_or(0, |indent| indent + 2)
    }

    /// Scans the whole text.
    fn run(&mut self) {
        loop {
            self.skip_to_token();
            let Some(first) = self.peek() else { return };
            if self.flow == 0 {
                let column = self.column;
                while self.indents.last().is_some_and(|indent| *indent > column) {
                    self.indents.pop();
                }
            }
            if self.column == 0 && (self.is_at_document_mark() || first == '%') {
                self.document_mark(first);
                continue;
            }
            self.is_prefix = false;
            self.token(first);
        }
    }

    /// Skips a directive, `---` or `...`.
    fn document_mark(&mut self, first: char) {
        self.indents.clear();
        self.keys.clear();
        self.keys.push(None);
        (self.flow, self.may_be_key, self.is_prefix) = (0, false, true);
        if first == '%' {
            self.bump_while(|character| !is_break(character));
        } else {
            (0..3).for_each(|_| self.bump());
        }
    }

    /// Skips the token that begins with `first`.
    fn token(&mut self, first: char) {
        let next = self.rest().chars().nth(1);
        let is_single = next.is_none_or(|next| is_blank(next) || is_break(next));
        match first {
            '[' | '{' => {
                self.save_key();
                self.keys.push(None);
                (self.flow, self.may_be_key) = (self.flow + 1, true);
                self.bump();
            }
            ']' | '}' => {
                if self.flow > 0 {
                    self.keys.pop();
                    self.flow -= 1;
                }
                self.may_be_key = false;
                self.bump();
            }
            ',' if self.flow > 0 => self.begin(true),
            '-' if is_single => self.begin(true),
            '-' if self.flow > 0 && next.is_some_and(|next| matches!(next, ',' | ']' | '}')) => {
                self.save_key();
                self.changes.push((self.at, Fix::Quote));
                self.bump();
                self.changes.push((self.at, Fix::Quote));
            }
            '?' if is_single => self.begin(self.flow == 0),
            ':' if is_single || self.flow > 0 => self.value(),
            '*' | '&' | '!' => {
                self.save_key();
                let in_flow = self.flow > 0;
                self.bump_while(|c| !(is_blank(c) || is_break(c) || in_flow && is_flow(c)));
            }
            '|' | '>' if self.flow == 0 => self.block_scalar(),
            '\'' | '"' => {
                self.save_key();
                self.quoted_scalar(first);
            }
            _ => {
                self.save_key();
                self.plain_scalar();
            }
        }
    }

    /// Skips an indicator that begins an entry or a key.
    fn begin(&mut self, may_be_key: bool) {
        if self.flow == 0 {
            self.indent_to(self.column);
        }
        self.forget_key();
        self.may_be_key = may_be_key;
        self.bump();
    }

    /// Skips the `:` before a value.
    fn value(&mut self) {
        let key = self.keys.last().copied().flatten().filter(|(line, _)| *line == self.line);
        if self.flow == 0 {
            self.indent_to(key.map_or(self.column, |(_, column)| column));
        }
        self.may_be_key = self.flow == 0 && key.is_none();
        self.forget_key();
        self.bump();
    }

    /// Opens a block collection at `column`, unless one is open there.
    fn indent_to(&mut self, column: usize) {
        if self.indents.last().is_none_or(|indent| *indent < column) {
            self.indents.push(column);
        }
    }

    /// Saves the current position as that of a possible key.
    fn save_key(&mut self) {
        if self.may_be_key
            && let Some(key) = self.keys.last_mut()
        {
            *key = Some((self.line, self.column));
        }
        self.may_be_key = false;
    }

    /// Forgets the possible key of the current flow level.
    fn forget_key(&mut self) {
        if let Some(key) = self.keys.last_mut() {
            *key = None;
        }
    }

    /// Returns true at `---` or `...`.
    fn is_at_document_mark(&self) -> bool {
        let rest = self.rest();
        let after = rest.strip_prefix("---").or_else(|| rest.strip_prefix("..."));
        after.is_some_and(|after| after.chars().next().is_none_or(|c| is_blank(c) || is_break(c)))
    }

    /// Skips white space, comments and byte order marks.
    fn skip_to_token(&mut self) {
        while let Some(character) = self.peek() {
            match character {
                ' ' | '\t' => self.bump(),
                BOM if self.column == 0 && (self.is_prefix || self.is_before_document()) => {
                    // The parser handles a byte order mark at the start of the text.
                    if self.at > 0 {
                        self.changes.push((self.at, Fix::Skip(BOM.len_utf8())));
                    }
                    self.at += BOM.len_utf8();
                }
                '#' => self.comment(),
                _ if is_break(character) => {
                    self.line_break(false);
                    self.may_be_key |= self.flow == 0;
                }
                _ => return,
            }
        }
    }

    /// Returns true at a byte order mark before `---`, which concatenated files contain.
    fn is_before_document(&self) -> bool {
        let after = self.rest().trim_start_matches(BOM).strip_prefix("---");
        after.is_some_and(|after| after.chars().next().is_none_or(|c| is_blank(c) || is_break(c)))
    }

    /// Skips a comment.
    fn comment(&mut self) {
        let before = self.source[..self.at].chars().next_back();
        if before.is_some_and(|before| !is_blank(before) && !is_break(before) && before != BOM) {
            self.changes.push((self.at, Fix::Spaces(1)));
        }
        self.bump_while(|character| !is_break(character));
    }

    /// Skips a line break, and indents the next line if the parser needs indentation and
    /// libyaml does not.
    fn line_break(&mut self, in_quotes: bool) {
        self.bump();
        if self.flow == 0 && !in_quotes {
            return;
        }
        let wanted = self.content_column();
        let blanks = self.rest().chars().take_while(|character| is_blank(*character));
        let has_tab = blanks.clone().take(wanted).any(|blank| blank == '\t');
        let columns = blanks.count();
        let next = self.rest().chars().nth(columns);
        let is_empty = next.is_none_or(is_break);
        let is_short = in_quotes && self.flow == 0 && columns < wanted && !is_empty;
        if is_short && columns == 0 && self.is_at_document_mark() {
            return;
        }
        if is_short || has_tab && (in_quotes || !is_empty) {
            self.changes.push((self.at, Fix::Spaces(wanted)));
        }
    }

    /// Skips a scalar in quotes.
    fn quoted_scalar(&mut self, quote: char) {
        self.bump();
        while let Some(character) = self.peek() {
            let next = self.rest().chars().nth(1);
            match character {
                _ if character == quote && quote == '\'' && next == Some(quote) => {
                    self.bump();
                    self.bump();
                }
                _ if character == quote => return self.bump(),
                _ if self.column == 0 && self.is_at_document_mark() => return,
                '\\' if quote == '"' => {
                    if next == Some('\'') {
                        self.changes.push((self.at, Fix::Skip(1)));
                    }
                    self.bump();
                    if next.is_some_and(|next| !is_break(next)) {
                        self.bump();
                    }
                }
                _ if is_break(character) => self.line_break(true),
                _ => self.bump(),
            }
        }
    }

    /// Skips a plain scalar, of any number of lines.
    fn plain_scalar(&mut self) {
        let in_flow = self.flow > 0;
        let least = self.indents.last().map_or(0, |indent| indent + 1);
        loop {
            if self.column == 0 && self.is_at_document_mark() || self.peek() == Some('#') {
                return;
            }
            while let Some(character) = self.peek().filter(|c| !is_blank(*c) && !is_break(*c)) {
                let next = self.rest().chars().nth(1);
                let is_before =
                    |next: char| is_blank(next) || is_break(next) || in_flow && is_flow(next);
                let is_value = character == ':' && next.is_none_or(is_before);
                if is_value || in_flow && is_flow(character) {
                    return;
                }
                if character == BOM {
                    self.changes.push((self.at, Fix::StandIn));
                }
                self.bump();
            }
            let line = self.line;
            while let Some(character) = self.peek().filter(|c| is_blank(*c) || is_break(*c)) {
                if is_break(character) { self.line_break(false) } else { self.bump() }
            }
            if self.line > line {
                self.may_be_key |= !in_flow;
                if !in_flow && self.column < least {
                    return;
                }
            }
            if self.peek().is_none() {
                return;
            }
        }
    }

    /// Skips a literal or folded scalar.
    fn block_scalar(&mut self) {
        self.forget_key();
        self.may_be_key = true;
        self.bump();
        let mut indent = None;
        while let Some(character) = self.peek().filter(|c| matches!(c, '+' | '-' | '0'..='9')) {
            let digit = character.to_digit(10).and_then(|digit| usize::try_from(digit).ok());
            indent = indent.or(digit);
            self.bump();
        }
        self.bump_while(is_blank);
        if self.peek() == Some('#') {
            self.comment();
        }
        self.bump_while(|character| !is_break(character));
        self.bump();
        let outer = self.indents.last().copied();
        let indent = match indent {
            Some(indent) => outer.unwrap_or(0) + indent,
            None => self.first_content().max(outer.map_or(1, |outer| outer + 1)),
        };
        loop {
            while self.column < indent && self.peek() == Some(' ') {
                self.bump();
            }
            match self.peek() {
                Some(character) if is_break(character) => self.bump(),
                Some(_) if self.column == indent => {
                    self.bump_while(|character| !is_break(character));
                    self.bump();
                }
                _ => return,
            }
        }
    }

    /// Returns the column at which the content of a block scalar begins: the indentation of its
    /// first line that is not blank, or of a longer blank line before it.
    fn first_content(&self) -> usize {
        let mut most = 0;
        for line in self.rest().split('\n') {
            let spaces = line.bytes().take_while(|byte| *byte == b' ').count();
            most = most.max(spaces);
            if !line[spaces..].trim_end_matches('\r').is_empty() {
                break;
            }
        }
        most
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn is_break(character: char) -> bool {
    matches!(character, '\n' | '\r')
}

fn is_flow(character: char) -> bool {
    matches!(character, ',' | '[' | ']' | '{' | '}')
}
