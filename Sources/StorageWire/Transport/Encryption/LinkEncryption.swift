/// Whether a node that reaches another one encrypts the link between them.
package enum LinkEncryption: Sendable {
    /// In the clear, unless the peer turns that away: then encrypted. A peer that has heard before this node that links are to be encrypted is
    /// reached all the same.
    case whenAsked
    /// Encrypted or not at all, so that nobody in between can talk two nodes out of it.
    case required
    /// In the clear or not at all: to see whether a peer still takes that.
    case never

    /// What the setting of a cluster means for those who call.
    package init(isOn: Bool) { self = isOn ? .required : .whenAsked }
}
