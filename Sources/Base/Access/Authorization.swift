/// Whether a request may go on, by the rules of OpenStack Swift's tempauth.
package enum Authorization: Sendable, Equatable {
    /// `owner`: may see and set what only owners may (`OwnerHeaders`).
    case allow(owner: Bool)
    /// No identity and no ACL that needs none: 401.
    case unauthenticated
    /// A known caller without the right: 403.
    case forbidden

    /// What the request does, as far as rights go.
    package enum Action: Sendable, Equatable {
        /// GET or HEAD.
        case read
        /// PUT, POST, DELETE or COPY's destination.
        case write
        /// OPTIONS, which everybody may send.
        case options
    }

    /// What the request is about.
    package enum Target: Sendable, Equatable {
        case account
        case container
        case object
    }

    /// A request reduced to what matters here.
    package struct Question {
        package var action: Action
        package var target: Target
        /// PUT or DELETE of the account itself, which neither its owner may do nor anybody by its ACL.
        package var managesAccount: Bool
        /// Storage account in the path (`AUTH_...`).
        package var account: [UInt8]
        /// Value of `Referer`.
        package var referrer: [UInt8]?

        package init(
            action: Action, target: Target, managesAccount: Bool = false, account: [UInt8], referrer: [UInt8]? = nil
        ) {
            self.action = action
            self.target = target
            self.managesAccount = managesAccount
            self.account = account
            self.referrer = referrer
        }
    }

    /// The decision that needs no stored ACL: owner, reseller admin and OPTIONS. Nil when ACLs must be consulted.
    package static func decideWithoutACLs(_ question: Question, identity: Identity?) -> Authorization? {
        guard question.account.starts(with: StorageAccount.resellerPrefix) else {
            return denial(identity)
        }
        if let identity {
            if identity.isResellerAdmin { return .allow(owner: true) }
            if identity.ownedAccounts.contains(question.account), !question.managesAccount {
                return .allow(owner: true)
            }
        }
        return question.action == .options ? .allow(owner: false) : nil
    }

    /// The whole decision.
    ///
    /// - Parameters:
    ///   - containerRead: `X-Container-Read` of the container, used for GET and HEAD of it and of its objects.
    ///   - containerWrite: `X-Container-Write`, used for writing objects (not the container itself).
    ///   - accountACL: `X-Account-Access-Control` of the account.
    package static func decide(
        _ question: Question, identity: Identity?, containerRead: ContainerACL?, containerWrite: ContainerACL?,
        accountACL: AccountACL?
    ) -> Authorization {
        if let early = decideWithoutACLs(question, identity: identity) { return early }
        switch (question.action, question.target) {
        case (.read, .container), (.read, .object):
            let isListing = question.target == .container
            if containerRead?.allows(identity, referrer: question.referrer, listing: isListing) == true {
                return .allow(owner: false)
            }
        case (.write, .object):
            if containerWrite?.allows(identity) == true { return .allow(owner: false) }
        case (.read, .account), (.write, .account), (.write, .container), (.options, _):
            break
        }
        return decideByAccount(question, identity: identity, accountACL: accountACL) ?? denial(identity)
    }

    private static func decideByAccount(
        _ question: Question, identity: Identity?, accountACL: AccountACL?
    ) -> Authorization? {
        switch accountACL?.access(of: identity) {
        case .admin where !question.managesAccount:
            return .allow(owner: true)
        case .readWrite where question.target != .account || question.action == .read:
            // Same as tempauth: read-write covers containers and objects, but of the account only GET and HEAD.
            return .allow(owner: false)
        case .readOnly where question.action == .read:
            return .allow(owner: false)
        case .admin, .readWrite, .readOnly, nil:
            return nil
        }
    }

    private static func denial(_ identity: Identity?) -> Authorization {
        identity == nil ? .unauthenticated : .forbidden
    }
}

/// Headers that only owners may see or set (`swift_owner_headers` of OpenStack Swift's proxy).
package enum OwnerHeaders {
    /// Lower-case names.
    package static let names: [[UInt8]] = [
        "x-container-read", "x-container-write", "x-container-sync-key", "x-container-sync-to",
        "x-account-meta-temp-url-key", "x-account-meta-temp-url-key-2",
        "x-container-meta-temp-url-key", "x-container-meta-temp-url-key-2",
        "x-account-access-control",
    ].map { Array($0.utf8) }

    /// Whether the header of this name, in any case, is for owners only.
    package static func contains(_ name: some Collection<UInt8>) -> Bool {
        names.contains { owned in
            owned.count == name.count
                && zip(owned, name).allSatisfy { $0 == ($1 >= 65 && $1 <= 90 ? $1 | 32 : $1) }
        }
    }
}
