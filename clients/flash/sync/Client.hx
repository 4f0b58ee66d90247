package sync;

import flash.errors.ArgumentError;
import flash.errors.Error;
import flash.events.EventDispatcher;
import flash.events.TimerEvent;
import flash.utils.Dictionary;
import flash.utils.Timer;
import sync.Settings.Options;

/**
    The client of SYNC's remoting, for Flash movies: it calls the functions of a server class,
    gets its events, answers its calls, and joins its rooms. When the connection is lost it comes back by itself,
    and takes its session up again where the server keeps sessions (resumeTime).

        var game = new sync.Client("localhost", 8080);
        game.on("onJoin", function(name) trace(name + " is here"));
        game.call("join", ["ann"], function(n) trace("we are " + n));

    It dispatches "session" and "state", which are StateEvents. The wire is JSON-RPC 2.0, and
    docs/remoting.md says how a session is resumed. Everything that could grow has a bound: see
    Settings.

    In a project of ActionScript the classes of Haxe's library are there, but nobody has run
    their set-up. So there are no static variables here, and of Array only what Flash has.
**/
class Client extends EventDispatcher {
    static inline var LONGEST_TIMER = 2147483647.; // ms
    static inline var PARTING = 1000.; // ms that a server has, which sends us elsewhere, to read all

    /** "connecting", "open", "waiting" (to connect again) or "closed" (for good). **/
    public var state(default, null):String = "connecting";
    /** Whether the last connection that opened took up the session of the one before. **/
    public var resumed(default, null):Bool = false;
    public var host(default, null):String;
    public var port(default, null):Int;

    var settings:Settings;
    var transport:Transport;
    var retryTimer:Timer;
    var next:Transport;        // to another server, told to go
    var moveTimer:Timer;       // until it is looked for, and until it has answered
    var former:Transport;      // the one before, until the session is at the other server
    var openTimer:Timer;       // limits a connection's way to "open"
    var heartbeat:Timer;
    var isSilent = false;      // nothing has come since the last beat
    var connection = 0;        // how many there have been
    var attempt = 0;           // failed ones in a row
    var asksAgain = false;     // a token was refused
    var openedAt = -1.;        // -1: not open

    var session = 0;           // how many there have been
    var token:String;          // of the session, when the server keeps sessions
    var count = 0;             // messages of the session
    var early:Array<Dynamic>;  // what comes before the first answer, which opens
    var earlySize = 0;

    var lastId = 0;
    var pending = new Dictionary(); // Calls by id
    var pendingCount = 0;
    var queue:Array<Entry> = [];    // what waits for a connection
    var sent = 0.;             // bytes
    var arrived = 0.;          // bytes of these that the server has read, for all we know
    var isAsking = false;      // how many have arrived

    var serving = 0;           // calls of the server in work
    var events:Events;
    var handlers:Handlers;
    var unknown = 0;
    var unreadable = 0;
    var joinedRooms = new Dictionary(); // by number
    var lateJoins = new Dictionary(); // ids of calls that nobody waits for any more
    var lateCount = 0;

    /**
        Connects in the background, and keeps trying. `options` is an object with fields of
        Settings. Throws an ArgumentError for options that are none, and a SecurityError where
        the player allows no such connection at all.
    **/
    public function new(host:String, port:Int, ?options:Options) {
        super();
        this.host = host;
        this.port = port;
        settings = new Settings(options);
        events = new Events(report);
        handlers = new Handlers(report);
        use(makeTransport());
        open();
    }

    function makeTransport():Transport {
        var made = settings.transport == "amf" ? new AmfTransport() : (new XmlTransport() : Transport);
        made.maxReceived = settings.maxReceived;
        return made;
    }

    function use(made:Transport) {
        transport = made;
        transport.onOpen = opened;
        transport.onMessage = receive;
        transport.onLost = lost;
    }

    /** Numbers to watch: {pending, queued, serving, received, unknown, unreadable, sessions}. **/
    public function stats():Dynamic {
        prune();
        return {
            pending: pendingCount, queued: queue.length, serving: serving, received: count,
            unknown: unknown, unreadable: unreadable, sessions: session,
        };
    }

    // Calls

    /**
        Calls a function of the server. `params` is an array, or an object of named ones.
        `onResult` gets the result, or `onFault` a Fault, and never before this has returned;
        without `onFault` it is reported. `options` may have `timeout` and `offline` of Settings.
    **/
    public function call(method:String, ?params:Dynamic, ?onResult:Dynamic -> Void,
            ?onFault:Fault -> Void, ?options:Dynamic):Void {
        var call = new Call(++lastId, method, onResult, onFault);
        var packed = compose(call.id, method, params);
        if (pendingCount >= settings.pendingLimit) {
            after(0, function() refuse(call, new Fault("full",
                '$method: too many calls wait for answers', null, method)));
            return;
        }
        var timeout:Float = option(options, "timeout", settings.timeout);
        expect(call, timeout);
        var problem = submit(new Entry(packed, call, timeout), option(options, "offline",
            settings.offline));
        if (problem != null) after(0, function() fail(call, problem.code, problem.message));
    }

    /**
        Calls without an answer. Returns whether it was sent or queued, where it is dropped
        after the time that calls wait. Throws a Fault with the code "tooLong".
    **/
    public function notify(method:String, ?params:Dynamic, ?options:Dynamic):Bool {
        var timeout:Float = option(options, "timeout", settings.timeout);
        var entry = new Entry(compose(0, method, params), null, timeout);
        var problem = submit(entry, option(options, "offline", settings.offline));
        if (problem != null && problem.code == "tooLong") throw problem;
        return problem == null;
    }

    /**
        Joins a room of the class `name` that has a place, or makes one. `onRoom` gets the Room,
        whose state is there with the first patch. `joining` is for the room's onCreate and
        onJoin; `options` are those of calls.
    **/
    public function join(name:String, ?joining:Dynamic, ?onRoom:Room -> Void,
            ?onFault:Fault -> Void, ?options:Dynamic):Void {
        enterBy("sync.join", {room: name, options: joining}, onRoom, onFault, options);
    }

    /** Makes a room, and joins it. **/
    public function create(name:String, ?joining:Dynamic, ?onRoom:Room -> Void,
            ?onFault:Fault -> Void, ?options:Dynamic):Void {
        enterBy("sync.create", {room: name, options: joining}, onRoom, onFault, options);
    }

    /** Joins the room of an id, or by a seat that the server has reserved. **/
    public function joinById(id:String, ?joining:Dynamic, ?onRoom:Room -> Void,
            ?onFault:Fault -> Void, ?options:Dynamic):Void {
        enterBy("sync.joinById", {id: id, options: joining}, onRoom, onFault, options);
    }

    /** Joins a private room. **/
    public function joinByCode(code:String, ?joining:Dynamic, ?onRoom:Room -> Void,
            ?onFault:Fault -> Void, ?options:Dynamic):Void {
        enterBy("sync.joinByCode", {code: code, options: joining}, onRoom, onFault, options);
    }

    /**
        Hands `onList` the rooms of a class that may be joined, as `{id, members, maxMembers,
        metadata}`: with a filter those whose metadata have its values.
    **/
    public function rooms(name:String, filter:Dynamic, onList:Array<Dynamic> -> Void,
            ?onFault:Fault -> Void, ?options:Dynamic):Void {
        call("sync.rooms", {room: name, filter: filter}, onList, onFault, options);
    }

    function enterBy(method:String, params:Dynamic, onRoom:Room -> Void, onFault:Fault -> Void,
            options:Dynamic) {
        call(method, params, function(joined) enter(joined, onRoom, onFault), onFault, options);
    }

    function enter(joined:Dynamic, onRoom:Room -> Void, onFault:Fault -> Void) {
        var room;
        try {
            room = new Room(this, joined, report);
        } catch (e:Error) { // this client is too old for the room
            notify("sync.leave", {room: joined.room});
            if (onFault == null) report(e);
            else onFault(new Fault("unknown", e.message, null, "sync.join"));
            return;
        }
        untyped joinedRooms["" + room.number] = room;
        if (onRoom != null) onRoom(room);
    }

    /** For rooms: it was left. **/
    public function forgetRoom(room:Room):Void {
        untyped __delete__(joinedRooms, "" + room.number);
    }

    /** For rooms: the server doesn't know it any more. **/
    public function loseRoom(room:Room, reason:String):Void {
        forgetRoom(room);
        room.left(reason);
    }

    function roomList():Array<Room> {
        var list:Array<Room> = [];
        for (id in (untyped __keys__(joinedRooms) : Array<Dynamic>)) list.push(untyped joinedRooms[id]);
        return list;
    }

    function loseRooms(reason:String) {
        lateJoins = new Dictionary();
        lateCount = 0;
        for (room in roomList()) loseRoom(room, reason);
    }

    // What comes for a room that was left is for nothing.
    function takePatch(data:Dynamic) {
        var problem = null;
        try {
            var head = new Head(data);
            var room:Room = untyped joinedRooms["" + head.room];
            if (room != null) problem = room.take(head);
        } catch (e:Error) {
            problem = e.message;
            for (room in roomList()) room.ask();
        }
        if (problem != null) complain("a patch that is wrong: " + problem);
    }

    function isJoining(method:String):Bool {
        return switch (method) {
            case "sync.join", "sync.create", "sync.joinById", "sync.joinByCode": true;
            default: false;
        }
    }

    // The session goes on at another node, where the room has another number.
    function renumber(old:Int, number:Int) {
        var room:Room = untyped joinedRooms["" + old];
        if (room == null) return;
        untyped __delete__(joinedRooms, "" + old);
        untyped joinedRooms["" + number] = room;
        room.renumber(number);
    }

    // The server may let us into a room that nobody here waits for any more.
    function expectLate(call:Call) {
        if (!isJoining(call.method) || !call.isSent || lateCount >= settings.pendingLimit) return;
        lateCount++;
        untyped lateJoins[call.id] = true;
    }

    function leaveLate(id:Dynamic, result:Dynamic) {
        if (untyped !__in__(id, lateJoins)) return;
        lateCount--;
        untyped __delete__(lateJoins, id);
        if (isObject(result)) notify("sync.leave", {room: result.room});
    }

    /** Hands `onResult` the milliseconds that a message needs to the server and back. **/
    public function latency(onResult:Float -> Void, ?onFault:Fault -> Void,
            ?options:Dynamic):Void {
        var start = now();
        var timeout:Float = option(options, "timeout", settings.timeout);
        call("sync.ping", null, function(_) onResult(now() - start), onFault,
            {offline: "refuse", timeout: timeout});
    }

    function option(options:Dynamic, name:String, otherwise:Dynamic):Dynamic {
        var value = Reflect.field(options, name);
        return value == null ? otherwise : value;
    }

    function compose(id:Int, method:String, params:Dynamic):Dynamic {
        if (method == null) throw new ArgumentError("a function's name is a string");
        var message:Dynamic = {jsonrpc: "2.0", method: method};
        if (id != 0) message.id = id;
        if (params != null) {
            if (!isObject(params)) {
                throw new ArgumentError('$method: params are an array, or an object of named ones');
            }
            message.params = params;
        }
        return transport.pack(message);
    }

    function expect(call:Call, timeout:Float) {
        untyped pending[call.id] = call;
        pendingCount++;
        if (timeout <= 0 || timeout > LONGEST_TIMER) return;
        call.timer = after(timeout, function() {
            fail(call, "timeout", 'no answer in $timeout ms');
        });
    }

    // Ends the waiting for an answer. Returns whether somebody still waits for it.
    function settle(call:Call):Bool {
        if (untyped pending[call.id] != call) return false;
        untyped __delete__(pending, call.id);
        pendingCount--;
        if (call.timer != null) call.timer.stop();
        return true;
    }

    function fail(call:Call, code:Dynamic, message:String, ?data:Dynamic) {
        if (!settle(call)) return;
        expectLate(call);
        refuse(call, new Fault(code, '${call.method}: $message', data, call.method));
    }

    function refuse(call:Call, fault:Fault) {
        if (call.onFault != null) events.attempt(call.onFault, [fault]) else report(fault);
    }

    function failAll(code:String, message:String, isMeant:Call -> Bool) {
        for (call in calls()) if (isMeant(call)) fail(call, code, message);
    }

    function failSent(message:String) {
        failAll("disconnected", message, function(call) return call.isSent);
    }

    // If the calls that were sent are lost, only answers among the missed messages still come.
    function markSent(areLost:Bool) {
        for (call in calls()) call.isLost = areLost && call.isSent;
    }

    function failLost() {
        failAll("disconnected",
            "the server that it was sent to has gone: the call may have been done, or not",
            function(call) return call.isLost);
    }

    // Those that wait for their answers.
    function calls():Array<Call> {
        var ids:Array<Int> = untyped __keys__(pending);
        return [for (id in ids) (untyped pending[id] : Call)];
    }

    // Sends or queues. Returns why it does neither.
    function submit(entry:Entry, offline:String):Fault {
        entry.size = transport.sizeOf(entry.packed);
        if (entry.size > settings.maxMessage) {
            return new Fault("tooLong",
                'the message is longer than maxMessage, ${settings.maxMessage} bytes');
        }
        if (state == "closed") return new Fault("closed", "the client is closed");
        if (state == "open") {
            if (sent - arrived > settings.maxQueue) {
                return new Fault("full", "the network takes no more");
            }
            send(entry);
            return null;
        }
        if (offline == "refuse") return new Fault("offline", "there is no connection");
        prune();
        if (queue.length >= settings.queueLimit) {
            return new Fault("full", "too many calls wait for a connection");
        }
        queue.push(entry);
        return null;
    }

    function send(entry:Entry) {
        sent += entry.size;
        if (entry.call != null) {
            entry.call.isSent = true;
            entry.call.mark = sent;
        }
        try {
            transport.send(entry.packed);
        } catch (e:Error) { // the connection has broken, and the player hasn't told yet
            var broken = connection;
            after(0, function() if (broken == connection && state == "open") drop(e.message));
        }
        askWhatArrived();
    }

    // A player doesn't tell how much it has not sent yet. But who answers has read all before.
    function askWhatArrived() {
        if (isAsking || state != "open" || sent - arrived <= settings.maxQueue / 2) return;
        var asked = connection;
        var done = function(_:Dynamic) {
            if (asked != connection) return;
            isAsking = false;
            askWhatArrived();
        }
        isAsking = true;
        ping(done, done);
    }

    // Asks the server for life, whatever limit is reached.
    function ping(onResult:Dynamic -> Void, onFault:Dynamic -> Void, timeout:Float = 0) {
        var call = new Call(++lastId, "sync.ping", onResult, onFault);
        expect(call, timeout > 0 ? timeout : settings.connectTimeout);
        var entry = new Entry(compose(call.id, call.method, null), call, 0);
        entry.size = transport.sizeOf(entry.packed);
        send(entry);
    }

    // Takes out of the queue what has waited too long, and answers for a session that is over.
    function prune() {
        var time = now();
        queue = [for (entry in queue) if (isWanted(entry, time)) entry];
    }

    function isWanted(entry:Entry, time:Float):Bool {
        if (entry.call != null) return untyped pending[entry.call.id] == entry.call;
        if (entry.session >= 0 && entry.session != session) return false;
        return entry.expires == 0 || entry.expires > time;
    }

    function flush() {
        prune();
        while (queue.length > 0 && state == "open") send(queue.shift());
    }

    // Events, and calls of the server

    /**
        Calls `fn` with the arguments of each event of this name; as "*", with the name and the
        arguments of every event. `fn` must take as many as there are.
    **/
    public function on(name:String, fn:Dynamic):Void {
        events.add(name, fn, false);
    }

    /** The same for the next event only. **/
    public function once(name:String, fn:Dynamic):Void {
        events.add(name, fn, true);
    }

    public function off(name:String, fn:Dynamic):Void {
        events.remove(name, fn);
    }

    /**
        Lets the server call `fn`; what it returns is the answer, unless it has called `later`.
        A Fault with a whole number as code that it throws is answered as it is; other errors
        are reported here, and answered with -32603. Without `fn` the function is taken back.
    **/
    public function handle(name:String, ?fn:Dynamic):Void {
        handlers.set(name, fn);
    }

    /**
        To be called in a function of `handle` whose answer isn't known yet; what that returns
        is then of no matter. Returns a function to be called once: with the result, or with
        null and a Fault.
    **/
    public function later():(?result:Dynamic, ?fault:Fault) -> Void {
        return handlers.later();
    }

    function report(error:Dynamic) {
        try {
            if (settings.onError != null) settings.onError(error);
            else untyped __global__["trace"]("sync: " + error);
        } catch (e:Error) {
            untyped __global__["trace"]("sync: onError itself has failed: " + e);
        }
    }

    function serve(id:Dynamic, method:String, args:Array<Dynamic>) {
        var asked = session;
        serving++;
        var done = function(result:Dynamic, fault:Fault) {
            if (asked != session || state == "closed") return; // who asked has gone
            serving--;
            answer(id, method, result, fault);
        };
        if (serving <= settings.pendingLimit) handlers.perform(method, args, done);
        else done(null, new Fault(-32000, "too many calls at once"));
    }

    function answer(id:Dynamic, method:String, result:Dynamic, fault:Fault) {
        var problem;
        try {
            problem = submitAnswer(id, result, fault);
        } catch (e:Error) { // what can't be written
            report(e);
            problem = submitAnswer(id, null, new Fault(-32603, "error in the function"));
        }
        if (problem != null && problem.code == "tooLong") {
            report(new Fault("tooLong", '$method: the answer is longer than maxMessage'));
            problem = submitAnswer(id, null, new Fault(-32603, "the answer is too long"));
        }
        if (problem != null) report(problem);
    }

    function submitAnswer(id:Dynamic, result:Dynamic, fault:Fault):Fault {
        var message:Dynamic = {jsonrpc: "2.0", id: id};
        if (fault == null) {
            message.result = result == null ? null : result; // undefined, too
        } else {
            message.error = {code: fault.code, message: fault.message};
            if (fault.data != null) message.error.data = fault.data;
        }
        var entry = new Entry(transport.pack(message), null, settings.timeout);
        entry.session = session;
        return submit(entry, "queue");
    }

    // What the server sends

    function receive(message:Dynamic, size:Int, problem:String) {
        isSilent = false;
        if (problem != null) complain(problem);
        if (early != null) keepEarly(message, size);
        else if (state != "closed") take(message);
    }

    function complain(what:String) {
        unreadable++;
        report(new Error("the server sent " + what));
    }

    // One message of the session, in order; null is one that could not be read.
    function take(message:Dynamic) {
        if (isObject(message) && message.method == "sync.session") {
            var info:Dynamic = toArguments(message.params)[0];
            token = info == null ? null : info.token;
            count = 0;
            failLost(); // the missed messages end here
            return;
        }
        if (isObject(message) && message.method == "sync.patch") { // it doesn't count
            takePatch(toArguments(message.params)[0]);
            return;
        }
        var isFleeting = isObject(message) && message.late == false; // worthless when late
        if (!isFleeting) count++;
        if (message != null) handleOne(message);
    }

    function handleOne(message:Dynamic) {
        if (!isObject(message)) {
            complain("what is no JSON-RPC");
        } else if (Std.isOfType(message.method, String)) {
            var args = toArguments(message.params);
            if (has(message, "id")) serve(message.id, message.method, args);
            else if (message.method == "sync.left") wasSentAway(args[0], args[1]);
            else if (message.method == "sync.moved") renumber(args[0], args[1]);
            else if (message.method == "sync.goaway") goAway(args[0]);
            else events.emit(message.method, args);
        } else if (has(message, "id") && (has(message, "result") || has(message, "error"))) {
            answered(message.id, message.result, message.error);
        } else {
            complain("what is no JSON-RPC");
        }
    }

    function wasSentAway(id:Dynamic, reason:String) {
        var room:Room = untyped joinedRooms["" + id];
        if (room != null) loseRoom(room, reason);
    }

    function toArguments(params:Dynamic):Array<Dynamic> {
        if (Std.isOfType(params, Array)) return params;
        return params == null ? [] : [params];
    }

    // An answer nobody waits for is counted; one without an id is about something we sent that
    // the server could not read.
    function answered(id:Dynamic, result:Dynamic, error:Dynamic) {
        var call:Call = untyped __is__(id, Int) ? pending[id] : null;
        if (call == null) {
            unknown++;
            leaveLate(id, result);
        } else if (call.mark > arrived) arrived = call.mark;
        if (error == null) {
            if (call != null && settle(call) && call.onResult != null) {
                events.attempt(call.onResult, [result]);
            }
        } else if (call != null || id == null) {
            var method = call == null ? null : call.method;
            var fault = new Fault(error.code, "" + error.message, error.data, method);
            if (call == null) report(fault);
            else if (settle(call)) refuse(call, fault);
        }
    }

    // The connection

    function open() {
        connection++;
        openTimer = after(settings.connectTimeout, function() {
            drop('not open in ${settings.connectTimeout} ms');
        });
        try {
            transport.open(host, port);
        } catch (e:Error) {
            openTimer.stop();
            throw e;
        }
    }

    function become(state:String, reason:String = "", delay:Float = 0, missed:Int = 0) {
        this.state = state;
        dispatchEvent(new StateEvent("state", state, reason, delay, attempt, resumed, missed));
    }

    // It is open when the server has answered. Ruffle tells of a connection before it is there,
    // and what is sent to one that fails is lost.
    function opened() {
        arrived = sent;
        isAsking = false;
        early = [];
        earlySize = 0;
        if (settings.token == null) greet();
        else say({jsonrpc: "2.0", id: "auth", method: "sync.auth", params: [shownToken()]});
    }

    // A function that fails gives no token, which the server refuses.
    function shownToken():Dynamic {
        if (!Reflect.isFunction(settings.token)) return settings.token;
        try {
            return settings.token();
        } catch (e:Error) {
            report(e);
            return null;
        }
    }

    function greet() {
        say(token == null
            ? {jsonrpc: "2.0", id: "hello", method: "sync.ping"}
            : {jsonrpc: "2.0", id: "resume", method: "sync.resume",
                params: [(token : Dynamic), count]});
    }

    function say(first:Dynamic) {
        try {
            transport.send(transport.pack(first));
        } catch (e:Error) {
            drop(e.message);
        }
    }

    function keepEarly(message:Dynamic, size:Int) {
        if (isObject(message) && message.method == null) {
            var result = message.result;
            if (message.id == "auth") {
                if (message.error == null) greet();
                else refusedToken(message.error.message);
                return;
            } else if (message.id == "hello") {
                begin(early.concat([null])); // this one counts as any other answer
                return;
            } else if (message.id == "resume") {
                if (!isObject(result) || result.resumed != true) {
                    begin(early);
                    return;
                }
                markSent(result.callsLost == true);
                if (result.callsLost == true) { // with the node that had the session
                    for (room in roomList()) wasSentAway(room.number, "lost");
                }
                ready(true, result.missed);
                return;
            }
        }
        early.push(message);
        earlySize += size;
        if (earlySize > settings.maxReceived) drop("too much before the first answer");
    }

    // A function is asked once more, until a connection has held; for ever would be in vain.
    function refusedToken(why:String) {
        transport.shut();
        var isOver = asksAgain || !Reflect.isFunction(settings.token);
        asksAgain = true;
        if (isOver) finish("the token was refused: " + why);
        else lost("the token was refused: " + why);
    }

    // A session begins, of which these messages have already come.
    function begin(messages:Array<Dynamic>) {
        var begun = connection;
        session++;
        token = null;
        count = 0;
        serving = 0;
        failSent("the connection was lost, and the session is over");
        loseRooms("the session is over");
        if (state != "connecting") return; // somebody has closed us
        ready(false, 0);
        for (message in messages) if (begun == connection && state == "open") take(message);
    }

    function ready(isResumed:Bool, missed:Int) {
        var readied = connection;
        openTimer.stop();
        early = null;
        leaveFormer();
        isSilent = false;
        if (settings.heartbeat > 0) {
            heartbeat = new Timer(settings.heartbeat);
            heartbeat.addEventListener(TimerEvent.TIMER, function(_) beat());
            heartbeat.start();
        }
        openedAt = now();
        resumed = isResumed;
        state = "open";
        for (room in roomList()) room.resume();
        if (!isResumed) dispatchEvent(new StateEvent("session", state));
        if (readied == connection && state == "open") flush();
        if (readied == connection && state == "open") become("open", "", 0, missed);
    }

    function beat() {
        if (isSilent) probe();
        isSilent = true;
    }

    // A connection can be dead for long before anybody says so.
    function probe() {
        var probed = connection;
        ping(null, function(fault) {
            if (fault.code != "timeout" || probed != connection || !isSilent) return;
            drop('silent for ${settings.connectTimeout} ms');
        });
    }

    // Gives up a connection without waiting for the other side.
    function drop(reason:String) {
        transport.shut();
        lost(reason);
    }

    function lost(reason:String) {
        if (openedAt >= 0 && now() - openedAt >= longestWait(attempt)) { // it held
            attempt = 0;
            asksAgain = false;
        }
        forget();
        var isOver = !settings.reconnect || settings.attempts > 0 && attempt >= settings.attempts;
        if (isOver) {
            finish(reason);
            return;
        }
        state = "waiting";
        if (token == null) failSent("the connection was lost");
        if (state == "closed") return; // somebody has closed us
        var delay = waitAt(attempt);
        attempt++;
        retryTimer = after(delay, retry);
        become("waiting", reason, delay);
    }

    function longestWait(attempt:Int):Float {
        return Math.min(settings.longestWait,
            settings.firstWait * Math.pow(settings.waitFactor, attempt));
    }

    function waitAt(attempt:Int):Float {
        return longestWait(attempt) * (1 - settings.jitter * Math.random());
    }

    function forget() {
        openTimer.stop();
        if (heartbeat != null) heartbeat.stop();
        heartbeat = null;
        early = null;
        openedAt = -1;
        forgetNext();
        leaveFormer();
    }

    function forgetNext() {
        if (moveTimer != null) moveTimer.stop();
        if (next != null) next.shut();
        moveTimer = null;
        next = null;
    }

    function leaveFormer() {
        if (former != null) former.shut();
        former = null;
    }

    // The server is about to end: another connection is made, by which this one is replaced. Until
    // then it goes on; it may end first, and is then mended as always.
    function goAway(info:Dynamic) {
        if (!settings.reconnect || moveTimer != null) return;
        var delay:Float = isObject(info) && info.delay > 0 ? info.delay : 0;
        moveIn(Math.min(delay, LONGEST_TIMER), 0);
    }

    function moveIn(delay:Float, tries:Int) {
        moveTimer = after(delay, function() move(tries));
    }

    // The other server is there when it has said something: see `opened`.
    function move(tries:Int) {
        var made = makeTransport();
        var held:Array<Dynamic> = [];
        var again = function(_:String) {
            if (next != made) return;
            forgetNext();
            if (state == "connecting") stay();
            moveIn(waitAt(tries), tries + 1);
        };
        next = made;
        moveTimer = after(settings.connectTimeout, function() again(""));
        made.onLost = again;
        made.onOpen = function() knock(made, again);
        made.onMessage = function(message, size, problem) {
            if (isObject(message) && message.id == "auth" && message.error != null) again("");
            if (next != made) return;
            held.push([message, size, problem]);
            if (held.length == 1) part(made, held);
        };
        try {
            made.open(host, port);
        } catch (e:Error) {
            again(e.message);
        }
    }

    // A server that keeps sessions speaks first, if it wants no token.
    function knock(made:Transport, failed:String -> Void) {
        var first:Dynamic = settings.token == null
            ? {jsonrpc: "2.0", id: "near", method: "sync.ping"}
            : {jsonrpc: "2.0", id: "auth", method: "sync.auth", params: [shownToken()]};
        if (settings.token == null && token != null) return;
        try {
            made.send(made.pack(first));
        } catch (e:Error) {
            failed(e.message);
        }
    }

    // Sends nothing more here, and goes over when what was sent has arrived: a ping says so.
    function part(made:Transport, held:Array<Dynamic>) {
        moveTimer.stop();
        var go = function(_:Dynamic) if (next == made) goOver(made, held);
        ping(go, go, PARTING);
        attempt = 0;
        become("connecting");
    }

    // The other connection has broken before it was needed.
    function stay() {
        state = "open";
        flush();
        become("open");
    }

    // The connection before is left when the session has moved: it would end with it.
    function goOver(made:Transport, held:Array<Dynamic>) {
        next = null;
        moveTimer = null;
        former = transport;
        former.onLost = function(_) {};
        former.onMessage = function(_, _, _) {};
        use(made);
        connection++;
        openTimer.stop();
        openTimer = after(settings.connectTimeout, function() {
            drop('not open in ${settings.connectTimeout} ms');
        });
        if (heartbeat != null) heartbeat.stop();
        openedAt = -1;
        arrived = sent;
        isAsking = false;
        early = [];
        earlySize = 0;
        greet();
        for (each in held) {
            var message:Dynamic = each[0];
            var isAnswer = isObject(message) && (message.id == "auth" || message.id == "near");
            if (transport == made && !isAnswer) receive(message, each[1], each[2]);
        }
    }

    function retry() {
        become("connecting");
        if (state != "connecting") return;
        try {
            open();
        } catch (e:Error) { // it hasn't thrown the first time
            report(e);
            finish(e.message);
        }
    }

    /** Closes for good. Calls that wait fail with "closed". **/
    public function close():Void {
        if (state == "closed") return;
        transport.shut();
        finish("closed by us");
    }

    function finish(reason:String) {
        if (retryTimer != null) retryTimer.stop();
        forget();
        state = "closed";
        queue = [];
        failAll("closed", 'the client is closed: $reason', function(_) return true);
        loseRooms('the client is closed: $reason');
        become("closed", reason);
    }

    // Small things

    inline function now():Float {
        return flash.Lib.getTimer();
    }

    function after(ms:Float, fn:Void -> Void):Timer {
        var timer = new Timer(ms, 1);
        timer.addEventListener(TimerEvent.TIMER, function(_) fn());
        timer.start();
        return timer;
    }

    inline function has(object:Dynamic, name:String):Bool {
        return untyped __in__(name, object);
    }

    function isObject(value:Dynamic):Bool {
        return value != null && untyped __typeof__(value) == "object";
    }
}

private class Call {
    public var id:Int;
    public var method:String;
    public var onResult:Dynamic;
    public var onFault:Dynamic;
    public var timer:Timer;
    public var isSent = false;
    public var isLost = false; // the server that has it answers no more
    public var mark = 0.; // how many bytes were sent up to its end

    public function new(id:Int, method:String, onResult:Dynamic, onFault:Dynamic) {
        this.id = id;
        this.method = method;
        this.onResult = onResult;
        this.onFault = onFault;
    }
}

// A message that is to be sent.
private class Entry {
    public var packed:Dynamic;
    public var call:Call;    // null for others
    public var expires:Float; // 0: never
    public var size = 0;
    public var session = -1; // the one that an answer is for

    public function new(packed:Dynamic, call:Call, timeout:Float) {
        this.packed = packed;
        this.call = call;
        expires = timeout > 0 ? flash.Lib.getTimer() + timeout : 0;
    }
}
