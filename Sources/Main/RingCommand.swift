import ArgumentParser

/// `ringfort ring ...`: makes rings and looks into them.
struct RingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ring",
        abstract: "Make rings and look into them.",
        discussion: """
            A ring says which devices hold what. Its builder file (object.builder) remembers devices, weights and when \
            partitions moved; "rebalance" writes the ring file that servers read (object.ring.gz) beside it, in the \
            format of OpenStack Swift.

            A first ring:
              ringfort ring create object.builder --part-power 14 --replicas 3 --min-part-hours 1
              ringfort ring add object.builder --zone 1 --ip 10.0.0.1 --port 6200 --device sdb --weight 100
              ... and so on for at least three devices
              ringfort ring rebalance object.builder
              ringfort ring lookup object.ring.gz /AUTH_test/photos/cat.jpg
            """,
        subcommands: [
            RingCreateCommand.self, RingAddCommand.self, RingSetWeightCommand.self, RingSetOverloadCommand.self,
            RingSetReplicasCommand.self, RingSetMinPartHoursCommand.self, RingRemoveCommand.self,
            RingRebalanceCommand.self, RingShowCommand.self, RingDispersionCommand.self, RingValidateCommand.self,
            RingLookupCommand.self,
        ])
}

/// The builder file every change works on, and the form of the output.
struct RingBuilderOptions: ParsableArguments {
    @Argument(help: "The builder file, such as object.builder.", completion: .file(extensions: ["builder"]))
    var file: String

    @Flag(help: "Print JSON.")
    var json = false
}
