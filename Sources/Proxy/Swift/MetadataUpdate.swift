internal import Access

/// What a PUT or POST changes in the metadata of an account or container: values are merged, empty ones delete.
package struct MetadataUpdate: Sendable, Equatable {
    /// One name to set or, without value, to delete.
    package struct Change: Sendable, Equatable {
        /// Canonical, such as `X-Container-Meta-Color` or `X-Container-Read`.
        package var name: [UInt8]
        package var value: [UInt8]?

        package init(name: [UInt8], value: [UInt8]?) {
            self.name = name
            self.value = value
        }
    }

    /// Who changes it, as far as it matters here.
    package struct Rights: Sendable, Equatable {
        /// May set ACLs, sync keys and temporary URL keys; others' are silently dropped.
        package var isOwner: Bool
        /// May set the account's quota.
        package var isResellerAdmin: Bool

        package init(isOwner: Bool, isResellerAdmin: Bool) {
            self.isOwner = isOwner
            self.isResellerAdmin = isResellerAdmin
        }
    }

    package private(set) var changes: [Change] = []
    /// Value of `X-Storage-Policy`, for containers.
    package private(set) var storagePolicy: [UInt8]?

    /// The update of an account.
    /// - Throws: 400 with OpenStack Swift's sentence, 403 for a quota that the caller may not set.
    package init(
        account headers: some HeaderFields, rights: Rights, constraints: Constraints
    ) throws(SwiftError) {
        try self.init(.account, headers, rights, constraints)
        if !rights.isResellerAdmin, change(of: "X-Account-Meta-Quota-Bytes") != nil { throw SwiftError(403) }
        try checkNumber("X-Account-Meta-Quota-Bytes", "Invalid bytes quota.")
    }

    /// The update of a container.
    /// - Throws: 400 with OpenStack Swift's sentence.
    package init(
        container headers: some HeaderFields, rights: Rights, constraints: Constraints
    ) throws(SwiftError) {
        try self.init(.container, headers, rights, constraints)
        try checkNumber("X-Container-Meta-Quota-Bytes", "Invalid bytes quota.")
        try checkNumber("X-Container-Meta-Quota-Count", "Invalid count quota.")
    }

    /// Whether nothing changes.
    package var isEmpty: Bool {
        changes.isEmpty
    }

    /// The metadata after the update.
    /// - Throws: 400 when the whole exceeds the limits.
    package func applied(to stored: [MetadataItem], constraints: Constraints) throws(SwiftError) -> [MetadataItem] {
        var result = stored
        for change in changes {
            if let value = change.value {
                result.set(MetadataItem(name: change.name, value: value))
            } else if let index = result.index(of: change.name) {
                result.remove(at: index)
            }
        }
        for target in [MetadataTarget.account, .container] {
            var limits = MetadataLimits(target, constraints)
            for item in result where item.name.hasPrefixIgnoringCase(target.prefix) {
                try limits.add(name: item.name.dropFirst(target.prefix.utf8CodeUnitCount), value: item.value)
            }
        }
        return result
    }

    // MARK: Reading the header

    private static let containerNames: [StaticString] = [
        "X-Container-Read", "X-Container-Write", "X-Container-Sync-To", "X-Container-Sync-Key",
    ]
    private static let containerRemovals: [StaticString] = [
        "X-Remove-Container-Read", "X-Remove-Container-Write", "X-Remove-Container-Sync-To",
        "X-Remove-Container-Sync-Key",
    ]
    private static let accountNames: [StaticString] = ["X-Account-Access-Control"]
    private static let accountRemovals: [StaticString] = ["X-Remove-Account-Access-Control"]

    private init(
        _ target: MetadataTarget, _ headers: some HeaderFields, _ rights: Rights, _ constraints: Constraints
    ) throws(SwiftError) {
        var reader = Reader(target: target, constraints: constraints)
        headers.forEachField { reader.read($0, $1) }
        if let failure = reader.failure { throw failure }
        var limits = MetadataLimits(target, constraints)
        for item in reader.given where item.name.hasPrefixIgnoringCase(target.prefix) {
            try limits.add(name: item.name.dropFirst(target.prefix.utf8CodeUnitCount), value: item.value)
        }
        storagePolicy = reader.storagePolicy
        // A value wins over a removal of the same name.
        for name in reader.removed where reader.given.index(of: name) == nil {
            changes.append(Change(name: name, value: nil))
        }
        for item in reader.given {
            let value = try Self.cleaned(item)
            changes.append(Change(name: item.name, value: value.trimmed.isEmpty ? nil : value))
        }
        if !rights.isOwner {
            changes.removeAll { OwnerHeaders.contains($0.name) }
        }
    }

    /// ACLs in canonical form.
    private static func cleaned(_ item: MetadataItem) throws(SwiftError) -> [UInt8] {
        do {
            if item.name.equals("X-Container-Read") { return try ContainerACL(parsing: item.value, for: .read).text }
            if item.name.equals("X-Container-Write") { return try ContainerACL(parsing: item.value, for: .write).text }
        } catch {
            throw SwiftError(400, text: error.text)
        }
        do {
            if item.name.equals("X-Account-Access-Control") { return try AccountACL(parsing: item.value).text }
        } catch {
            throw SwiftError(400, text: error.text)
        }
        return item.value
    }

    private func change(of name: StaticString) -> Change? {
        changes.first { $0.name.equals(name) }
    }

    private func checkNumber(_ name: StaticString, _ sentence: String) throws(SwiftError) {
        if let value = change(of: name)?.value, value.decimal == nil { throw SwiftError(400, sentence) }
    }

    /// Gathers fields; the closure that feeds it cannot throw, so the first failure is kept.
    private struct Reader {
        let target: MetadataTarget
        let constraints: Constraints
        var given: [MetadataItem] = []
        var removed: [[UInt8]] = []
        var storagePolicy: [UInt8]?
        var failure: SwiftError?
        private var count = 0

        init(target: MetadataTarget, constraints: Constraints) {
            self.target = target
            self.constraints = constraints
        }

        mutating func read(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
            guard failure == nil else { return }
            do throws(SwiftError) {
                count += 1
                guard count <= constraints.maxHeaderCount else { throw SwiftError(400, "Too many headers") }
                try MetadataLimits(target, constraints).check(header: name, value: value)
            } catch {
                failure = error
                return
            }
            guard let first = name.first, ASCII.lower(first) == UInt8(ascii: "x") else { return }
            take(name, value)
        }

        private mutating func take(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
            let names = target == .account ? accountNames : containerNames
            let removals = target == .account ? accountRemovals : containerRemovals
            if name.hasPrefixIgnoringCase(target.prefix) || names.contains(where: { name.equalsIgnoringCase($0) }) {
                given.merge(MetadataItem(name: MetadataName.canonical(name), value: Array(value)))
            } else if removals.contains(where: { name.equalsIgnoringCase($0) })
                || target.removalPrefix.map({ name.hasPrefixIgnoringCase($0) && name.count > $0.utf8CodeUnitCount })
                    == true
            {
                removed.append(MetadataName.canonical(Array("X-".utf8) + name.dropFirst("x-remove-".utf8.count)))
            } else if target == .container, name.equalsIgnoringCase("X-Storage-Policy"), !value.isEmpty {
                storagePolicy = Array(value)
            }
        }
    }
}
