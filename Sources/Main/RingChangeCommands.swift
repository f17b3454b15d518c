import ArgumentParser
import Glibc
import Ring

struct RingCreateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Make an empty builder file.",
        discussion: """
            The partition power cannot be changed later: take one that gives at least 100 partitions for each device you \
            will ever have. 2^14 partitions do for 400 devices with 3 replicas.

            Example:
              ringfort ring create object.builder --part-power 14 --replicas 3 --min-part-hours 1
            """)

    @OptionGroup var options: RingBuilderOptions
    @Option(help: "The ring gets 2 to this power partitions.") var partPower: Int
    @Option(help: "Replicas of each partition; 3.25 gives a quarter of the partitions a fourth one.")
    var replicas: Double = 3
    @Option(help: "Hours a partition rests after one of its replicas has moved.") var minPartHours: Int = 1

    func run() throws {
        let builder: RingBuilder
        do {
            builder = try RingBuilder(partPower: partPower, replicas: replicas, minPartHours: minPartHours)
        } catch { throw RingFailure("\(error)") }
        try RingFileAccess.write(BuilderFile.encode(builder), to: options.file, replacing: false)
        options.report(
            [("file", .string(options.file)), ("partitions", .integer(builder.partitionCount))],
            text: "\(options.file): \(builder.partitionCount) partitions. Next: ringfort ring add \(options.file) ...")
    }
}

struct RingAddCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Add a device.",
        discussion: """
            Nothing moves before "rebalance". Weights are relative; the size in GB is a good one.

            Example:
              ringfort ring add object.builder --region 1 --zone 2 --ip 10.0.2.7 --port 6200 --device sdb --weight 4000
            """)

    @OptionGroup var options: RingBuilderOptions
    @Option(help: "The outermost failure domain, such as a site.") var region: Int = 1
    @Option(help: "The failure domain in the region, such as a rack.") var zone: Int
    @Option(help: "The address of the node.") var ip: String
    @Option(help: "The port of the storage server.") var port: Int
    @Option(help: "The name of the device on its node.") var device: String
    @Option(help: "How much it should hold, relative to the others.") var weight: Double
    @Option(help: "Free text.") var meta: String = ""
    @Option(help: "The address for replication, if it is another one.") var replicationIp: String?
    @Option(help: "The port for replication, if it is another one.") var replicationPort: Int?

    func validate() throws {
        for port in [port, replicationPort ?? port] where !(1...65535).contains(port) {
            throw ValidationError("a port is a number from 1 to 65535, not \(port)")
        }
    }

    func run() throws {
        let added = RingDevice(
            region: region, zone: zone, ip: ip, port: port, device: device, weight: weight, meta: meta,
            replicationIP: replicationIp, replicationPort: replicationPort)
        let (id, builder) = try options.change { builder in
            let twin = builder.devices.compactMap { $0 }.first {
                $0.ip == ip && $0.port == port && $0.device == device && !builder.removedDevices.contains($0.id)
            }
            if let twin { throw RingFailure("device \(twin.id) is \(device) on \(ip):\(port) already") }
            return (try builder.add(added), builder)
        }
        options.report(
            [("device", builder.devices[id]?.json ?? .null), ("version", .integer(builder.version))],
            text: "Device \(id): \(device) on \(ip):\(port), region \(region), zone \(zone), weight \(weight)")
    }
}

struct RingSetWeightCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-weight", abstract: "Give a device more or less to hold.",
        discussion: """
            Weight 0 drains a device as fast as --min-part-hours allows; "remove" empties it at once.

            Example:
              ringfort ring set-weight object.builder 3 2000
            """)

    @OptionGroup var options: RingBuilderOptions
    @Argument(help: "The device's id; see \"ring show\".") var id: Int
    @Argument(help: "Its new weight.") var weight: Double

    func run() throws {
        let version = try options.change { builder in
            try builder.setWeight(weight, of: id)
            return builder.version
        }
        options.report(
            [("id", .integer(id)), ("weight", .number(weight)), ("version", .integer(version))],
            text: "Device \(id) has weight \(weight)")
    }
}

struct RingSetOverloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-overload", abstract: "Let devices take more than their weight to keep replicas apart.",
        discussion: """
            With 0.1 a device may hold ten per cent more than its share if that keeps replicas of a partition in different \
            zones or nodes. "ring dispersion" says how much would be needed.

            Example:
              ringfort ring set-overload object.builder 0.1
            """)

    @OptionGroup var options: RingBuilderOptions
    @Argument(help: "The fraction; 0.1 is ten per cent.") var overload: Double

    func run() throws {
        let version = try options.change { builder in
            try builder.setOverload(overload)
            return builder.version
        }
        options.report(
            [("overload", .number(overload)), ("version", .integer(version))], text: "The overload is \(overload)")
    }
}

struct RingSetReplicasCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-replicas", abstract: "Change how many replicas partitions have.",
        discussion: """
            The next "rebalance" gives partitions the replicas they lack, or takes away those they have too many; what is \
            taken away stays on its devices until replication removes it. 3.25 gives a quarter of the partitions a fourth one, \
            so that a change can be made in steps.

            Example:
              ringfort ring set-replicas object.builder 3.25
            """)

    @OptionGroup var options: RingBuilderOptions
    @Argument(help: "Replicas of each partition.") var replicas: Double

    func run() throws {
        let version = try options.change { builder in
            try builder.setReplicas(replicas)
            return builder.version
        }
        options.report(
            [("replicas", .number(replicas)), ("version", .integer(version))],
            text: "Partitions get \(replicas) replicas with the next rebalance")
    }
}

struct RingSetMinPartHoursCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-min-part-hours", abstract: "Change how long partitions rest after they moved.",
        discussion: """
            Take at least the time a full pass of replication needs: a partition that moves again earlier may be on none of \
            the devices it is looked for on.

            Example:
              ringfort ring set-min-part-hours object.builder 24
            """)

    @OptionGroup var options: RingBuilderOptions
    @Argument(help: "Hours from one move of a partition to the next.") var hours: Int

    func run() throws {
        let version = try options.change { builder in
            try builder.setMinPartHours(hours)
            return builder.version
        }
        options.report(
            [("min_part_hours", .integer(hours)), ("version", .integer(version))],
            text: "Partitions rest for \(hours) hours after a move")
    }
}

struct RingRemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a device that is broken or gone.",
        discussion: """
            The next "rebalance" moves everything it held at once, whatever moved recently. To empty a device that works, \
            "set-weight ... 0" is gentler.

            Example:
              ringfort ring remove object.builder 3
            """)

    @OptionGroup var options: RingBuilderOptions
    @Argument(help: "The device's id; see \"ring show\".") var id: Int

    func run() throws {
        let version = try options.change { builder in
            try builder.remove(id)
            return builder.version
        }
        options.report(
            [("id", .integer(id)), ("version", .integer(version))],
            text: "Device \(id) goes with the next rebalance")
    }
}

struct RingRebalanceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebalance", abstract: "Move partitions to where they belong and write the ring file.",
        discussion: """
            At most one replica of a partition moves at a time, so that two of three stay where they are: run it again, \
            after --min-part-hours and when replication has caught up, until nothing moves. Balance is the worst device's \
            distance from its share in per cent; dispersion the per cent of replicas that are closer together than they need be.

            Example:
              ringfort ring rebalance object.builder        (writes object.ring.gz)
            """)

    @OptionGroup var options: RingBuilderOptions
    @Option(help: "The same builder and seed give the same ring.") var seed: UInt64 = 0
    @Flag(help: "Move partitions even if they moved recently.") var force = false

    func run() throws {
        let now = time(nil)
        let (result, builder) = try options.change { builder in
            if force { builder.pretendMinPartHoursPassed() }
            return (try builder.rebalance(now: now, seed: seed), builder)
        }
        try RingFileAccess.write(RingFile.encode(builder.ring()), to: options.ringFile)
        let wait = builder.secondsUntilMovable(now: now)
        options.report(
            [
                ("moved", .integer(result.movedParts)), ("balance", .number(result.balance)),
                ("dispersion", .number(result.dispersion)), ("removed", .integer(result.removedDevices)),
                ("version", .integer(builder.version)), ("ring", .string(options.ringFile)),
                ("seconds_until_movable", .integer(wait)),
            ],
            text: """
                \(options.ringFile), version \(builder.version): \(result.movedParts) replicas moved, \
                balance \(twoDigits(result.balance)) %, dispersion \(twoDigits(result.dispersion)) %
                """)
    }
}
