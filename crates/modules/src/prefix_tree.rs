//! Values by prefix, the longest first.

/// A tree of prefixes over some characters.
pub(crate) struct PrefixTree<T> {
    nodes: Vec<Node<T>>,
    characters: Vec<u8>,
}

struct Node<T> {
    value: Option<T>,
    children: Vec<(u8, u32)>,
}

impl<T> PrefixTree<T> {
    /// A tree whose prefixes are made of `characters`.
    pub(crate) fn new(characters: &str) -> PrefixTree<T> {
        let nodes = vec![Node { value: None, children: Vec::new() }];
        PrefixTree { nodes, characters: characters.bytes().collect() }
    }

    /// The place of a prefix, empty or not; none when it has other characters.
    pub(crate) fn entry(&mut self, prefix: &str) -> Option<&mut Option<T>> {
        if prefix.is_empty() || !prefix.bytes().all(|byte| self.characters.contains(&byte)) {
            return None;
        }
        let mut at = 0;
        for byte in prefix.bytes() {
            at = match self.child(at, byte) {
                Some(next) => next,
                None => {
                    let next = self.nodes.len();
                    self.nodes[at].children.push((byte, next as u32));
                    self.nodes.push(Node { value: None, children: Vec::new() });
                    next
                }
            };
        }
        Some(&mut self.nodes[at].value)
    }

    /// Every prefix with its value.
    pub(crate) fn all(&self) -> Vec<(String, &T)> {
        let (mut found, mut open) = (Vec::new(), vec![(0, String::new())]);
        while let Some((at, prefix)) = open.pop() {
            let node: &Node<T> = &self.nodes[at];
            found.extend(node.value.as_ref().map(|value| (prefix.clone(), value)));
            open.extend(
                node.children.iter().map(|(byte, next)| (*next as usize, format!("{prefix}{}", *byte as char))),
            );
        }
        found
    }

    /// Every prefix of `text` that has a value, as its length and value, the longest first.
    ///
    /// As in Kamailio none where the text has a character of no prefix before the tree ends.
    pub(crate) fn prefixes_of(&self, text: &[u8]) -> Vec<(usize, &T)> {
        let mut found = Vec::new();
        let mut at = 0;
        for (length, byte) in text.iter().enumerate() {
            if self.nodes[at].children.is_empty() {
                break;
            }
            if !self.characters.contains(byte) {
                return Vec::new();
            }
            let Some(next) = self.child(at, *byte) else { break };
            at = next;
            if let Some(value) = &self.nodes[at].value {
                found.push((length + 1, value));
            }
        }
        found.reverse();
        found
    }

    fn child(&self, at: usize, byte: u8) -> Option<usize> {
        self.nodes[at].children.iter().find(|(own, _)| *own == byte).map(|(_, next)| *next as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_comes_first() {
        let mut tree = PrefixTree::new("0123456789");
        for (prefix, value) in [("12", 'a'), ("123", 'b'), ("4", 'c')] {
            *tree.entry(prefix).unwrap() = Some(value);
        }
        let find = |text: &str| tree.prefixes_of(text.as_bytes()).into_iter().map(|(n, v)| (n, *v)).collect::<Vec<_>>();
        assert_eq!(find("12399"), [(3, 'b'), (2, 'a')]);
        assert_eq!(find("49x"), [(1, 'c')]);
        // As Kamailio 5.6.3 answers.
        assert_eq!(find("12a"), []);
        assert_eq!((find("9"), find("1"), find("")), (vec![], vec![], vec![]));
        assert!(tree.entry("1x").is_none() && tree.entry("").is_none());
    }
}
