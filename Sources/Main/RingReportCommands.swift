import ArgumentParser
import Glibc
import Ring

struct RingShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show the settings and the devices of a builder file.",
        discussion: """
            Balance is by how many per cent a device holds more (or less) than its weight says.

            Example:
              ringfort ring show object.builder
            """)

    @OptionGroup var options: RingBuilderOptions

    func run() throws {
        let builder = try options.load()
        let parts = builder.partsByDevice
        let balance = builder.balanceByDevice
        let devices = builder.devices.compactMap { $0 }
        if options.json {
            let list = devices.map { device -> JSONValue in
                guard case .object(let members) = device.json else { return .null }
                return .object(
                    members + [
                        JSONMember("parts", .integer(parts[device.id])),
                        JSONMember("balance", .number(balance[device.id])),
                        JSONMember("removed", .bool(builder.removedDevices.contains(device.id))),
                    ])
            }
            options.report(settings(builder) + [("devices", .array(list))], text: "")
            return
        }
        print(
            """
            \(options.file), version \(builder.version): \(builder.partitionCount) partitions, \(builder.replicas) replicas, \
            \(devices.count) devices, balance \(twoDigits(builder.balance)) %, overload \(twoDigits(builder.overload * 100)) %, \
            min_part_hours \(builder.minPartHours)\(builder.hasChanges ? "\nThere are changes: rebalance." : "")
            """)
        var table = [["id", "region", "zone", "address", "device", "weight", "parts", "balance", "meta"]]
        for device in devices {
            let mark = builder.removedDevices.contains(device.id) ? " (removed)" : ""
            table.append([
                "\(device.id)", "\(device.region)", "\(device.zone)", "\(device.ip):\(device.port)",
                device.device + mark, "\(device.weight)", "\(parts[device.id])", twoDigits(balance[device.id]),
                device.meta,
            ])
        }
        printColumns(table)
    }

    private func settings(_ builder: RingBuilder) -> [(String, JSONValue)] {
        [
            ("version", .integer(builder.version)), ("part_power", .integer(builder.partPower)),
            ("partitions", .integer(builder.partitionCount)), ("replicas", .number(builder.replicas)),
            ("min_part_hours", .integer(builder.minPartHours)), ("overload", .number(builder.overload)),
            ("balance", .number(builder.balance)), ("changed", .bool(builder.hasChanges)),
            ("seconds_until_movable", .integer(builder.secondsUntilMovable(now: time(nil)))),
        ]
    }
}

/// Prints rows so that their columns line up.
private func printColumns(_ rows: [[String]]) {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    for row in rows {
        var line = ""
        for (cell, width) in zip(row, widths) {
            line += cell + String(repeating: " ", count: width - cell.count + 2)
        }
        while line.last == " " { line.removeLast() }
        print(line)
    }
}

struct RingDispersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dispersion", abstract: "Show how well replicas are kept apart.",
        discussion: """
            For every region, zone, node and device: how many partitions have 0, 1, 2 and so on replicas in it, how many \
            replicas it should have at most, and how many replicas are above that.

            Example:
              ringfort ring dispersion object.builder
            """)

    @OptionGroup var options: RingBuilderOptions

    func run() throws {
        let builder = try options.load()
        let tiers: [TierDispersion]
        let dispersion: Double
        let required: Double
        do {
            try builder.validate()
            tiers = try builder.dispersionByTier()
            dispersion = try builder.dispersion()
            required = try builder.requiredOverload()
        } catch { throw RingFailure("\(error)") }
        let list = tiers.map { tier in
            JSONValue.object([
                JSONMember("tier", .string(name(tier, builder))),
                JSONMember("max_replicas", .integer(tier.mostReplicas)),
                JSONMember("partitions", .array(tier.partitions.map { .integer($0) })),
                JSONMember("at_risk", .integer(tier.atRisk)),
            ])
        }
        options.report(
            [
                ("dispersion", .number(dispersion)), ("required_overload", .number(required)), ("tiers", .array(list)),
            ],
            text: """
                Dispersion is \(twoDigits(dispersion)) %; full dispersion needs an overload of \(twoDigits(required * 100)) %, \
                it is \(twoDigits(builder.overload * 100)) %.
                """)
        guard !options.json else { return }
        let columns = tiers.first?.partitions.count ?? 0
        var rows = [["tier", "at risk", "max"] + (0..<columns).map { "\($0)" }]
        rows += tiers.map { tier in
            [name(tier, builder), "\(tier.atRisk)", "\(tier.mostReplicas)"] + tier.partitions.map(String.init)
        }
        printColumns(rows)
    }

    private func name(_ tier: TierDispersion, _ builder: RingBuilder) -> String {
        guard let id = tier.devices.first, let device = builder.devices[id] else { return "" }
        let names = ["r\(device.region)", "z\(device.zone)", "-\(device.ip)", "/\(device.device)"]
        return names[...tier.level].joined()
    }
}

struct RingValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check a builder file and the ring file beside it.",
        discussion: """
            Every replica has a device that exists, no device holds a partition twice, and the ring file is the one of this \
            builder. Exits with an error if not.

            Example:
              ringfort ring validate object.builder
            """)

    @OptionGroup var options: RingBuilderOptions

    func run() throws {
        let builder = try options.load()
        do {
            try builder.validate()
            let ring = try RingFile.decode(try RingFileAccess.read(options.ringFile))
            if !builder.hasChanges {
                let same = RingFile.encode(ring) == RingFile.encode(builder.ring())
                guard same else { throw RingFailure("\(options.ringFile) is not the ring of \(options.file)") }
            }
        } catch let error as RingBuilderError { throw RingFailure("\(error)") } catch let error as RingFileError {
            throw RingFailure("\(options.ringFile): \(error)")
        }
        options.report(
            [("valid", .bool(true)), ("version", .integer(builder.version)), ("changed", .bool(builder.hasChanges))],
            text: "Valid\(builder.hasChanges ? "; there are changes since the last rebalance" : "")")
    }
}
