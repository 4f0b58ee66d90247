// A movie of Flash clients, led by its page: the page calls command(text), the movie calls
// the page's movieEvent(text), and the texts are JSON. flash.mjs says what is done with it.
//
// With the parameter `library`, the classes are not the movie's own but those of the SWC's
// library.swf, loaded into a domain by themselves: what an ActionScript 3 project has of them.

import flash.Lib;
import flash.display.Loader;
import flash.events.Event;
import flash.events.NetStatusEvent;
import flash.external.ExternalInterface;
import flash.net.NetConnection;
import flash.net.Responder;
import flash.net.URLRequest;
import flash.system.ApplicationDomain;
import flash.system.LoaderContext;
import flash.utils.ByteArray;

class FlashGame {
    var clients:Map<String, Dynamic> = [];
    var answers:Map<String, Dynamic> = []; // what later() has returned
    var rooms:Map<String, Dynamic> = [];
    var seen:Dynamic;                  // of the vectors
    var gateway = new NetConnection();
    var library:ApplicationDomain;
    var json = new sync.Json();

    static function main() {
        new FlashGame();
    }

    function new() {
        var name:String = Reflect.field(Lib.current.loaderInfo.parameters, "library");
        if (name == null) {
            start();
            return;
        }
        forgetHaxe();
        library = new ApplicationDomain();
        var loader = new Loader();
        loader.contentLoaderInfo.addEventListener(Event.INIT, function(_) {
            var own:Dynamic = sync.Client;
            if (library.getDefinition("sync.Client") != own) start(); // else nothing is shown
        });
        loader.load(new URLRequest(name), new LoaderContext(false, library));
    }

    // What Haxe adds to the player's own classes is there for all movies; in a project of
    // ActionScript it isn't.
    function forgetHaxe() {
        untyped {
            for (name in ["copy", "insert", "contains", "remove", "iterator", "keyValueIterator",
                "resize", "filterHX", "mapHX"]) __delete__(Array.prototype, name);
            __delete__(String.prototype, "charCodeAtHX");
            for (name in ["isFinite", "isNaN"]) __delete__(Math, name);
        }
    }

    function start() {
        gateway.addEventListener(NetStatusEvent.NET_STATUS, function(e:NetStatusEvent) {
            tell("gateway", "status", Reflect.field(e.info, "code"));
        });
        ExternalInterface.addCallback("command", command);
        tell("movie", "ready", null);
    }

    function tell(who:String, kind:String, value:Dynamic) {
        ExternalInterface.call("movieEvent",
            json.write({who: who, kind: kind, value: value}));
    }

    // Returns what the command returns, or {error}, as JSON.
    function command(text:String):String {
        var result:Dynamic = null;
        try {
            result = perform(json.read(text));
        } catch (e:flash.errors.Error) {
            result = {error: "" + e.message, code: Reflect.field(e, "code")};
        }
        return json.write(result);
    }

    function perform(it:Dynamic):Dynamic {
        var who:String = it.who;
        var client = clients[who];
        switch (it.verb) {
            case "open":
                open(who, it.port, it.options, it.closeWhen);
            case "call":
                client.call(it.method, it.params, function(result) tell(it.tag, "result", result),
                    function(fault) tell(it.tag, "fault", say(fault)), it.options);
            case "notify":
                return client.notify(it.method, it.params, it.options);
            case "latency":
                client.latency(function(ms) tell(it.tag, "result", ms));
            case "on":
                client.on(it.name, function(a, ?b, ?c) tell(who, it.tag, [a, b, c]));
            case "once":
                client.once(it.name, function(a) tell(who, it.tag, [a]));
            case "onOff":
                var listener = function(a) tell(who, it.tag, [a]);
                client.on(it.name, listener);
                client.off(it.name, listener);
            case "onBroken":
                client.on(it.name, function(_) throw new flash.errors.Error("broken listener"));
            case "handle":
                handle(client, who);
            case "unhandle":
                client.handle(it.name);
            case "answer":
                answers[who](it.result);
            case "close":
                client.close();
            case "stats":
                return client.stats();
            case "look":
                return {state: client.state, resumed: client.resumed};
            case "json":
                var other:Dynamic = make("sync.Json", [it.isPlain]);
                return other.write(other.read(it.text));
            case "loop":
                var loop:Dynamic = {};
                loop.loop = loop;
                make("sync.Json", [it.isPlain]).write(loop);
            case "state":
                seen = make("sync.Seen", [it.declared]);
            case "patch":
                return apply(it);
            case "fuzz":
                return fuzz(it.declared, it.steps, it.count, it.seed);
            case "enter":
                client.join("Arena", it.joining, function(room:Dynamic) {
                    rooms[who] = room;
                    listen(who, room);
                }, function(fault) tell(who, "fault", say(fault)));
            case "roomCall":
                rooms[who].call(it.method, it.params, function(result) tell(it.tag, "result", result));
            case "roomInput":
                return rooms[who].input(it.method, it.params);
            case "room":
                var room = rooms[who];
                return {isIn: room.isIn, phase: room.state.phase, count: room.state.players.count(),
                    mine: room.state.players.isMine(room.member), taken: room.inputTaken,
                    own: room.state.players.get(room.member)};
            case "leave":
                rooms[who].leave();
            case "gateway":
                if (it.url != null) gateway.connect(it.url);
                var responder = new Responder(function(result) tell(it.tag, "result", result),
                    function(info) tell(it.tag, "fault", info));
                var args:Array<Dynamic> = [it.method, responder];
                Reflect.callMethod(gateway, gateway.call, args.concat(it.params));
            default:
                throw new flash.errors.Error("there is no command " + it.verb);
        }
        return null;
    }

    // Makes an object of a class that belongs to the client.
    function make(name:String, args:Array<Dynamic>):Dynamic {
        if (library != null) {
            return Type.createInstance(library.getDefinition(name), args);
        }
        return switch (name) {
            case "sync.Client": new sync.Client(args[0], args[1], args[2]);
            case "sync.Seen": new sync.Seen(args[0]);
            case "sync.Head": new sync.Head(args[0]);
            case "sync.Fault": new sync.Fault(args[0], args[1], args[2]);
            default: new sync.Json(args[0]);
        }
    }

    function open(who:String, port:Int, options:Dynamic, closeWhen:String) {
        if (options == null) options = {};
        options.onError = function(error) tell(who, "error", say(error));
        var client = make("sync.Client", ["127.0.0.1", port, options]);
        clients[who] = client;
        if (closeWhen != null) client.addEventListener(closeWhen, function(_) client.close());
        client.addEventListener("session", function(_) {
            tell(who, "session", null);
            client.call("join", [who], function(n) tell(who, "joined", n));
        });
        client.addEventListener("state", function(e:Dynamic) {
            tell(who, "state", {state: e.state, resumed: e.resumed, missed: e.missed,
                attempt: e.attempt, delay: e.delay, reason: e.reason});
        });
    }

    function listen(who:String, room:Dynamic) {
        tell(who, "entered", room.member);
        room.state.players.onAdd(function(player, id, why) tell(who, "add", [id, player.name, why]));
        room.state.players.onAdd(function(player, id) tell(who, "named", player.name));
        room.state.players.onRemove(function(player, id, why) tell(who, "remove", [id, why]));
        room.state.players.onChange(function(player, id, fields) {
            tell(who, "change", [id, fields, player.x]);
        });
        room.onLeft(function(why) tell(who, "roomLeft", why));
        room.on("onHit", function(by) tell(who, "hit", by));
    }

    // Applies a patch of the vectors: `hex`, or `object`.
    function apply(it:Dynamic):Dynamic {
        var told:Array<Dynamic>;
        try {
            told = seen.apply(make("sync.Head", [it.hex == null ? it.object : bytesOf(it.hex)]));
        } catch (e:flash.errors.Error) {
            return {refused: "" + e.message, view: viewOf()};
        }
        return {view: viewOf(), told: [for (one in told)
            {what: one.what, table: one.table.name, key: one.entity.key, detail: one.detail}]};
    }

    // Applies mutated patches of a vector. Returns how many were refused, and what has broken.
    function fuzz(declared:Dynamic, steps:Array<String>, count:Int, seed:Int):Dynamic {
        var refused = 0;
        var chance = function(below:Int):Int {
            seed = (seed * 1103515245 + 12345) & 0x7fffffff;
            return (seed >> 8) % below;
        };
        seen = make("sync.Seen", [declared]);
        for (i in 0...count) {
            var whole = bytesOf(steps[i % steps.length]);
            var isSpoilt = i >= steps.length && chance(4) > 0;
            if (isSpoilt) for (_ in 0...1 + chance(3)) whole = mutate(whole, chance);
            var before = sizes();
            try {
                seen.apply(make("sync.Head", [whole]));
            } catch (e:flash.errors.TypeError) {
                return {broken: "" + e + " at " + i};
            } catch (e:flash.errors.Error) {
                refused++;
                if (sizes() != before) return {broken: "it was refused, and has changed: " + e};
            }
        }
        return {refused: refused};
    }

    // How many entities there are, by number and by key.
    function sizes():String {
        return [for (table in (seen.tables : Array<Dynamic>)) {
            var keys:Array<Dynamic> = untyped __keys__(table.keys);
            table.list().length + "/" + keys.length + "/" + table.count;
        }].join(" ");
    }

    function mutate(bytes:ByteArray, chance:Int -> Int):ByteArray {
        var at = chance(bytes.length + 1);
        var mutated = new ByteArray();
        if (at > 0) mutated.writeBytes(bytes, 0, at);
        var rest = at;
        switch (chance(4)) {
            case 0: rest = at + 1;
            case 1:
                mutated.writeByte(chance(256));
                rest = at + 1;
            case 2: mutated.writeByte(chance(256));
            default: for (byte in [255, 255, 255, chance(128)]) mutated.writeByte(byte);
        }
        if (rest < (bytes.length : Int)) mutated.writeBytes(bytes, rest, bytes.length - rest);
        mutated.position = 0;
        return mutated;
    }

    function bytesOf(hex:String):ByteArray {
        var bytes = new ByteArray();
        for (i in 0...hex.length >> 1) bytes.writeByte(Std.parseInt("0x" + hex.substr(2 * i, 2)));
        return bytes;
    }

    // What the client has, without what is at its default.
    function viewOf():Dynamic {
        var view:Array<Dynamic> = [];
        for (table in (seen.tables : Array<Dynamic>)) {
            for (entity in (table.list() : Array<Dynamic>)) {
                var fields:Dynamic = {};
                for (field in (table.all : Array<Dynamic>)) {
                    var value = Reflect.field(entity.fields, field.name);
                    if (json.write(value) == json.write(field.type.first())) continue;
                    Reflect.setField(fields, field.name, value);
                }
                view.push([table.name, entity.key, fields, entity.isMine]);
            }
        }
        return {tick: seen.tick, input: seen.input, entities: view};
    }

    function handle(client:Dynamic, who:String) {
        client.handle("add", function(a:Dynamic, b:Dynamic) return a + b);
        client.handle("refuse", function() {
            throw make("sync.Fault", [42, "not today", {until: "noon"}]);
        });
        client.handle("break", function():Dynamic throw new flash.errors.Error("a secret"));
        client.handle("nothing", function() {});
        client.handle("long", function() return StringTools.lpad("", "x", 70000));
        client.handle("later", function(a) {
            answers[who] = client.later();
            tell(who, "asked", a);
        });
        client.handle("laterAtOnce", function(a) {
            var answer:Dynamic = client.later();
            answer(a);
            answer("twice");
        });
    }

    function say(error:Dynamic):Dynamic {
        return {code: Reflect.field(error, "code"), message: "" + error.message,
            data: Reflect.field(error, "data"), method: Reflect.field(error, "method")};
    }
}
