//! Reads words, numbers, quoted names and brackets from the start of a text.

use std::str::FromStr;

use arrow_schema::TimeUnit;

/// Why a text is not a Lance name.
pub(super) enum Unreadable {
    /// The first word is none of Lance's.
    OtherName,
    /// It begins like one.
    Wrong(String),
}

/// Reads one type from the start of `rest`.
pub(super) struct Reader<'a> {
    pub(super) rest: &'a str,
}

impl<'a> Reader<'a> {
    /// What `read` makes of the text between `(` and `)`, or `[` and `]`.
    pub(super) fn arguments<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<T, Unreadable> {
        let close = if self.peek("[") { "]" } else { ")" };
        self.expect(if close == "]" { "[" } else { "(" })?;
        let value = read(self)?;
        self.expect(close)?;
        Ok(value)
    }

    /// What `read` makes of the text between `<` and `>`.
    pub(super) fn parameters<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<T, Unreadable> {
        self.expect("<")?;
        let value = read(self)?;
        self.expect(">")?;
        Ok(value)
    }

    pub(super) fn unit(&mut self) -> Result<TimeUnit, Unreadable> {
        match self.word().to_ascii_lowercase().as_str() {
            "s" => Ok(TimeUnit::Second),
            "ms" => Ok(TimeUnit::Millisecond),
            "us" => Ok(TimeUnit::Microsecond),
            "ns" => Ok(TimeUnit::Nanosecond),
            _ => Err(Unreadable::Wrong("a unit is s, ms, us or ns".to_owned())),
        }
    }

    /// A number of items or bytes.
    pub(super) fn size(&mut self) -> Result<i32, Unreadable> {
        let size = self.number()?;
        if size < 0 {
            return Err(Unreadable::Wrong("a size is not negative".to_owned()));
        }
        Ok(size)
    }

    pub(super) fn number<T: FromStr>(&mut self) -> Result<T, Unreadable> {
        let sign = usize::from(self.rest.starts_with('-'));
        let digits = self.rest.bytes().skip(sign).take_while(u8::is_ascii_digit);
        let (number, rest) = self.rest.split_at(sign + digits.count());
        let value = number
            .parse()
            .map_err(|_| Unreadable::Wrong(format!("`{}` is no fitting number", self.rest)))?;
        self.rest = rest.trim_start();
        Ok(value)
    }

    /// The letters, digits and underscores at the start, possibly none.
    pub(super) fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    /// A text in double quotes, with those inside doubled.
    pub(super) fn quoted(&mut self) -> Result<String, Unreadable> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1).peekable();
        while let Some((index, character)) = characters.next() {
            if character == '"' && characters.next_if(|(_, next)| *next == '"').is_none() {
                self.rest = self.rest.get(index + 1..).unwrap_or_default().trim_start();
                return Ok(text);
            }
            text.push(character);
        }
        Err(Unreadable::Wrong("a quote is not closed".to_owned()))
    }

    pub(super) fn peek(&self, sign: &str) -> bool {
        self.rest.starts_with(sign)
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), Unreadable> {
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                Ok(())
            }
            None => Err(Unreadable::Wrong(format!("a `{sign}` is missing"))),
        }
    }
}
