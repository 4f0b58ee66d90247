package sync;

import flash.errors.Error;
import sync.Seen.Table;

/** A map of a room's state: entities, objects of fields, by their key. **/
class Entities {
    var table:Table;
    var events:Events;
    var withoutWhy:Array<Dynamic> = []; // of onAdd: {fn, called}

    public function new(table:Table, report:Dynamic -> Void) {
        this.table = table;
        events = new Events(report);
    }

    /** How many there are. **/
    public function count():Int return table.count;

    /** The entity of a key, or null. **/
    public function get(key:Dynamic):Dynamic {
        var entity = table.byKey(key);
        return entity == null ? null : entity.fields;
    }

    /** Whether the member owns it: its private fields are sent then. **/
    public function isMine(key:Dynamic):Bool {
        var entity = table.byKey(key);
        return entity != null && entity.isMine;
    }

    /** Calls `fn(entity, key)` for each. **/
    public function each(fn:Dynamic):Void {
        for (entity in table.list()) events.attempt(fn, [entity.fields, entity.key]);
    }

    /**
        Calls `fn(entity, key, why)` for each that is there, and each that comes: "new", or "seen"
        when it was there before, and comes into sight.
    **/
    public function onAdd(fn:Dynamic):Void {
        var called = fn;
        if (Reflect.isFunction(fn) && untyped fn.length == 2) { // one argument more is an error
            called = function(entity:Dynamic, key:Dynamic, why:String) {
                Reflect.callMethod(null, fn, [entity, key]);
            };
            withoutWhy.push({fn: fn, called: called});
        }
        events.add("add", called, false);
        for (entity in table.list()) events.attempt(called, [entity.fields, entity.key, "seen"]);
    }

    /** Calls `fn(entity, key, why)`: "gone", or "hidden" when it is only out of sight. **/
    public function onRemove(fn:Dynamic):Void events.add("remove", fn, false);

    /** Calls `fn(entity, key, fields)` with the names of the fields that a patch has brought. **/
    public function onChange(fn:Dynamic):Void events.add("change", fn, false);

    /** Ends what these have begun. **/
    public function off(fn:Dynamic):Void {
        for (what in ["add", "remove", "change"]) events.remove(what, fn);
        for (one in withoutWhy) if (one.fn == fn) events.remove("add", one.called);
        withoutWhy = [for (one in withoutWhy) if (one.fn != fn) one];
    }

    /** What the room tells. **/
    public function tell(what:String, fields:Dynamic, key:Dynamic, detail:Dynamic):Void {
        events.fire(what, [fields, key, detail]);
    }
}

/** A room that a Client is in; see Client.join. **/
class Room {
    /** Its class's. **/
    public var name(default, null):String;
    /** By which others join it, on any node. **/
    public var id(default, null):String;
    /** By which a private room is joined, or null. **/
    public var code(default, null):String;
    /** The room's number in patches and calls. **/
    public var number(default, null):Int;
    /** The member's id in the room. **/
    public var member(default, null):Int;
    /** Fields, and maps as Entities, by name. All are empty before the first patch. **/
    public var state(default, null):Dynamic;
    public var isIn(default, null):Bool = true;
    public var tickRate(default, null):Float;
    public var patchRate(default, null):Float;
    /** The number of the last input that the server has taken. **/
    public var inputTaken(default, null):Float = 0;
    /** The server's tick of the last patch. **/
    public var tick(default, null):Float = 0;

    var client:Client;
    var seen:Seen;
    var events:Events;
    var listening:Array<Dynamic> = []; // to the client's events: {name, fn}
    var epoch:Float;
    var isWaiting = true;              // for a snapshot
    var asks = "no";                   // for one: "yes", or "again" at the next patch
    var lastInput = 0.;

    public function new(client:Client, joined:Dynamic, report:Dynamic -> Void) {
        this.client = client;
        name = joined.name;
        id = joined.id;
        code = joined.code;
        number = joined.room;
        member = joined.member;
        tickRate = joined.tickRate;
        patchRate = joined.patchRate;
        epoch = joined.epoch;
        seen = new Seen(joined.state);
        events = new Events(report);
        state = seen.root.fields;
        for (table in seen.tables) {
            if (table.keyType != null) {
                Reflect.setField(state, table.name, new Entities(table, report));
            }
        }
    }

    /** As Client.call, of a function of the room. **/
    public function call(method:String, ?params:Array<Dynamic>, ?onResult:Dynamic -> Void,
            ?onFault:Fault -> Void, ?options:Dynamic):Void {
        client.call("sync.call", about(method, params), onResult, onFault, options);
    }

    /**
        Calls a function of the room as the next input, without an answer. Returns the input's
        number, which patches tell when it was taken, or 0 when it can't be sent now.
    **/
    public function input(method:String, ?params:Array<Dynamic>):Float {
        var message = about(method, params);
        message.input = lastInput + 1;
        if (!client.notify("sync.call", message, {offline: "refuse"})) return 0;
        return ++lastInput;
    }

    function about(method:String, params:Array<Dynamic>):Dynamic {
        return {room: number, method: method, params: params == null ? [] : params};
    }

    /** As Client.on, as long as the member is in the room. **/
    public function on(name:String, fn:Dynamic):Void {
        client.on(name, fn);
        listening.push({name: name, fn: fn});
    }

    /** Calls `fn(state, fields)` with the names of the state's own fields that have changed. **/
    public function onChange(fn:Dynamic):Void events.add("change", fn, false);

    /** Calls `fn(room)` after each patch. **/
    public function onPatch(fn:Dynamic):Void events.add("patch", fn, false);

    /** Calls `fn(reason)` when the member is in the room no more, and not by `leave`. **/
    public function onLeft(fn:Dynamic):Void events.add("left", fn, false);

    /** Leaves. **/
    public function leave():Void {
        if (!isIn) return;
        end();
        client.forgetRoom(this);
        client.call("sync.leave", {room: number}, null, function(_) {});
    }

    function end() {
        isIn = false;
        for (one in listening) client.off(one.name, one.fn);
    }

    // What the client tells

    /** The member is in the room no more. **/
    public function left(reason:String):Void {
        if (!isIn) return;
        end();
        events.fire("left", [reason]);
    }

    /** The connection is a new one: what comes before the next snapshot is for nothing. **/
    public function resume():Void {
        isWaiting = true;
        asks = "no";
    }

    /** What it's called at the node where the session goes on. **/
    public function renumber(number:Int):Void this.number = number;

    /** Asks for a snapshot, once. **/
    public function ask():Void {
        isWaiting = true;
        if (asks == "yes") return;
        asks = "yes";
        client.call("sync.snapshot", {room: number}, null, function(fault) {
            if (asks == "yes") asks = "again";
            if (untyped __is__(fault.code, Int)) client.loseRoom(this, fault.message);
        });
    }

    /** Takes a patch. Returns why it was refused, or null. **/
    public function take(head:Head):String {
        if (head.epoch < epoch) return null;
        if (isWaiting && !head.isSnapshot) {
            if (asks == "again") ask();
            return null;
        }
        var told;
        try {
            told = seen.apply(head);
        } catch (e:Error) { // nothing was done yet
            ask();
            return e.message;
        }
        epoch = head.epoch;
        tick = head.tick;
        inputTaken = head.input;
        isWaiting = false;
        asks = "no";
        for (one in told) if (isIn) tell(one);
        if (isIn) events.fire("patch", [this]);
        return null;
    }

    function tell(one:sync.Seen.Told) {
        if (one.table.keyType == null) {
            var all = [for (field in one.table.all) field.name];
            events.fire("change", [state, one.what == "change" ? one.detail : all]);
            return;
        }
        var entities:Entities = Reflect.field(state, one.table.name);
        entities.tell(one.what, one.entity.fields, one.entity.key, one.detail);
    }
}
