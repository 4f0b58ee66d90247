// The Flash door of examples/central: the same world, from a movie.
//
// Parameters of the movie (flashvars): host, port, room, name. The mouse steers, a click dashes;
// the button, or B, takes the brush; a line below is said with Enter.

import flash.Lib;
import flash.display.Graphics;
import flash.display.Shape;
import flash.display.Sprite;
import flash.display.StageAlign;
import flash.display.StageScaleMode;
import flash.events.Event;
import flash.events.KeyboardEvent;
import flash.events.MouseEvent;
import flash.external.ExternalInterface;
import flash.text.TextField;
import flash.text.TextFieldAutoSize;
import flash.text.TextFieldType;
import flash.text.TextFormat;

class Person {
    public var name:String;
    public var hue:Int;
    public var score = 0;
    public var dashing = false;
    public var seenAt = -1e9; // ms
    public var isHere = false; // in sight
    public var x = 0.0;
    public var y = 0.0;
    public var label:TextField;

    var from:Array<Float>; // x, y and when: of the last snapshot but one
    var to:Array<Float>;
    var trail:Array<Float> = [];

    public function new(name:String, hue:Int) {
        this.name = name;
        this.hue = hue;
    }

    public function see(x:Float, y:Float, now:Float) {
        var fresh = !isHere;
        isHere = true;
        // It has rested where it was until one patch before.
        from = fresh ? [x, y, now - 1] : [to[0], to[1], Math.max(to[2], now - Central.PATCH)];
        to = [x, y, now];
        seenAt = now;
        if (fresh) trail = [];
    }

    // Where it was a little ago, between two snapshots.
    public function move(now:Float) {
        if (to == null) return;
        var share = (now - Central.BEHIND - from[2]) / Math.max(1, to[2] - from[2]);
        share = Math.min(1.5, Math.max(0, share));
        x = from[0] + (to[0] - from[0]) * share;
        y = from[1] + (to[1] - from[1]) * share;
        trail.push(x);
        trail.push(y);
        if (trail.length > 28) trail.splice(0, 2);
    }

    public function draw(g:Graphics, isMine:Bool) {
        var color = Central.color(hue);
        var count = Std.int(trail.length / 2);
        for (i in 0...count) {
            g.beginFill(color, 0.05 + 0.3 * i / count);
            g.drawCircle(trail[2 * i], trail[2 * i + 1], 2 + 6 * i / count);
            g.endFill();
        }
        g.beginFill(color, 0.18);
        g.drawCircle(x, y, dashing ? 30 : 20);
        g.endFill();
        g.beginFill(color);
        g.drawCircle(x, y, 9);
        g.endFill();
        g.beginFill(0xffffff);
        g.drawCircle(x, y, 4.5);
        g.endFill();
        if (isMine) {
            g.lineStyle(1.5, color, 0.9);
            g.drawCircle(x, y, 17);
            g.lineStyle();
        }
    }
}

class Stroke {
    public var serial:Int;
    public var hue:Int;
    public var width:Int;
    public var points:Array<Float>;

    public function new(hue, width, points, serial) {
        this.hue = hue;
        this.width = width;
        this.points = points;
        this.serial = serial;
    }
}

class Central {
    public static inline var BEHIND = 130; // ms that others are shown behind
    public static inline var PATCH = 50;   // ms between patches
    static inline var CHAT_LINES = 7;
    static inline var AIM_EVERY = 50; // ms
    static inline var DRAW_EVERY = 60;
    static inline var BRUSH = 4;

    var game:sync.Client;
    var room = "lobby";
    var name = "flash";
    var me = 0;
    var place:sync.Room;
    var people:Map<Int, Person> = [];
    var sparks:Map<Int, Array<Float>> = [];
    var strokes:Array<Stroke> = [];
    var isPainted = true;
    var moved:Array<Dynamic> = []; // of the patch that is told: {id, comet}
    var lines:Array<Dynamic> = []; // the same: {serial, line}
    var chat:Array<String> = [];

    var world = new Sprite(); // everything in the world's units
    var grid = new Shape();
    var board = new Shape();
    var scene = new Shape();
    var labels = new Sprite();
    var status = label(13, 0xaab4d4);
    var chatText = label(13, 0xe8ecff);
    var input = new TextField();
    var brushButton = new Sprite();
    var brushLabel = label(13, 0xffffff);

    var width = 5760.0;
    var height = 3840.0;
    var brush = false;
    var isDown = false;
    var strokeNumber = 0;
    var waiting:Array<Float> = []; // points that are not sent yet
    var lastAim = 0.0;
    var lastDraw = 0.0;
    var aimed = "";

    static function main() {
        new Central();
    }

    static function label(size:Int, color:Int):TextField {
        var field = new TextField();
        field.defaultTextFormat = new TextFormat("_sans", size, color);
        field.autoSize = TextFieldAutoSize.LEFT;
        field.selectable = false;
        field.mouseEnabled = false;
        return field;
    }

    // A hue of the wheel, bright enough for a dark sky.
    public static function color(hue:Int):Int {
        var part = function(n:Float) {
            var k = (n + hue / 30) % 12;
            return Std.int(255 * (0.66 - 0.34 * Math.max(-1, Math.min(Math.min(k - 3, 9 - k), 1))));
        };
        return part(0) << 16 | part(8) << 8 | part(4);
    }

    static function now():Float {
        return Lib.getTimer();
    }

    function new() {
        var stage = Lib.current.stage;
        stage.scaleMode = StageScaleMode.NO_SCALE;
        stage.align = StageAlign.TOP_LEFT;
        var given:Dynamic = Lib.current.loaderInfo.parameters;
        if (given.room != null) room = given.room;
        if (given.name != null) name = given.name;
        build();
        stage.addEventListener(Event.ENTER_FRAME, function(_) frame());
        stage.addEventListener(Event.RESIZE, function(_) layOut());
        stage.addEventListener(MouseEvent.MOUSE_DOWN, press);
        stage.addEventListener(MouseEvent.MOUSE_UP, function(_) release());
        stage.addEventListener(KeyboardEvent.KEY_DOWN, key);
        connect(given.host == null ? "localhost" : given.host,
            given.port == null ? 8080 : Std.parseInt(given.port));
        if (ExternalInterface.available) expose();
    }

    function build() {
        var root = Lib.current;
        for (part in [grid, board, scene, labels]) world.addChild(part);
        root.addChild(world);
        root.addChild(status);
        root.addChild(chatText);
        chatText.multiline = true;
        input.type = TextFieldType.INPUT;
        input.defaultTextFormat = new TextFormat("_sans", 14, 0xffffff);
        input.background = input.border = true;
        input.backgroundColor = 0x161b33;
        input.borderColor = 0x3a4470;
        input.height = 22;
        input.maxChars = 200;
        root.addChild(input);
        brushButton.buttonMode = true;
        brushButton.mouseChildren = false;
        brushButton.addChild(brushLabel);
        brushButton.addEventListener(MouseEvent.CLICK, function(_) takeBrush(!brush));
        root.addChild(brushButton);
        takeBrush(false);
        layOut();
    }

    function layOut() {
        var stage = Lib.current.stage;
        status.x = status.y = 12;
        input.x = 12;
        input.y = stage.stageHeight - 34;
        input.width = Math.min(360, stage.stageWidth - 140);
        brushButton.x = stage.stageWidth - 112;
        brushButton.y = stage.stageHeight - 38;
        showChat();
    }

    function takeBrush(wanted:Bool) {
        brush = wanted;
        brushLabel.text = brush ? "Fly (B)" : "Draw (B)";
        brushLabel.x = (100 - brushLabel.width) / 2;
        brushLabel.y = 4;
        var g = brushButton.graphics;
        g.clear();
        g.beginFill(brush ? 0x6a4fd8 : 0x232a4d);
        g.drawRoundRect(0, 0, 100, 28, 14, 14);
        g.endFill();
    }

    // The server.

    function connect(host:String, port:Int) {
        game = new sync.Client(host, port, {offline: "refuse"});
        game.addEventListener("session", function(_) join());
        game.addEventListener("state", function(_) showStatus());
    }

    function join() {
        game.join("Central", {room: room, name: name, hue: 45}, function(joined) {
            for (id in [for (id in people.keys()) id]) leave(id);
            place = joined;
            me = joined.member;
            sparks = new Map();
            strokes = [];
            chat = [];
            follow(joined.state);
            joined.onPatch(function(_) patched());
        }, function(fault) say("server", fault.message));
    }

    // Functions of Flash take as many arguments as they are given.
    function follow(state:Dynamic) {
        state.people.onAdd(function(known:Dynamic, id:Int, why:String) {
            people[id] = new Person(known.name, known.hue);
        });
        state.people.onRemove(function(known:Dynamic, id:Int, why:String) leave(id));
        state.people.onChange(function(known:Dynamic, id:Int, fields:Array<String>) {
            people[id].name = known.name;
        });
        var see = function(comet:Dynamic, id:Int, why:Dynamic) moved.push({id: id, comet: comet});
        state.comets.onAdd(see);
        state.comets.onChange(see);
        state.comets.onRemove(function(comet:Dynamic, id:Int, why:String) {
            if (people[id] != null) people[id].isHere = false;
        });
        state.sparks.onAdd(function(spark:Dynamic, id:Int, why:String) {
            sparks[id] = [spark.x, spark.y];
        });
        state.sparks.onRemove(function(spark:Dynamic, id:Int, why:String) sparks.remove(id));
        var draw = function(stroke:Dynamic, serial:Int, why:Dynamic) {
            takeOff(serial);
            strokes.push(new Stroke(stroke.hue, stroke.width, stroke.points, serial));
            isPainted = false;
        };
        state.strokes.onAdd(draw);
        state.strokes.onChange(draw);
        state.strokes.onRemove(function(stroke:Dynamic, serial:Int, why:String) takeOff(serial));
        state.chat.onAdd(function(line:Dynamic, serial:Int, why:String) {
            lines.push({serial: serial, line: line});
        });
    }

    // Within a patch nothing has an order.
    function patched() {
        var time = now();
        for (one in moved) {
            var person = people[one.id];
            if (person == null) continue;
            person.see(one.comet.x, one.comet.y, time);
            person.score = one.comet.score;
            person.dashing = one.comet.isDashing;
        }
        moved = [];
        lines.sort(function(a, b) return a.serial - b.serial);
        for (one in lines) say(one.line.name, one.line.text);
        lines = [];
        strokes.sort(function(a, b) return a.serial - b.serial);
        if (!isPainted) paint();
        showStatus();
    }

    function takeOff(serial:Int) {
        strokes = strokes.filter(function(each) return each.serial != serial);
        isPainted = false;
    }

    function leave(id:Int) {
        var person = people[id];
        if (person == null) return;
        if (person.label != null) labels.removeChild(person.label);
        people.remove(id);
    }

    function notify(name:String, ?params:Array<Dynamic>) {
        if (place != null && place.isIn) place.input(name, params);
    }

    // The person in front of it.

    function press(e:MouseEvent) {
        if (e.target == input || e.target == brushButton) return;
        Lib.current.stage.focus = null;
        if (!brush) {
            notify("dash");
            return;
        }
        isDown = true;
        strokeNumber++;
        addPoint();
    }

    function release() {
        if (isDown) sendPoints();
        isDown = false;
    }

    function key(e:KeyboardEvent) {
        var stage = Lib.current.stage;
        if (stage.focus == input) {
            if (e.keyCode == 13 && input.text != "") {
                notify("say", [input.text]);
                input.text = "";
            }
        } else if (e.keyCode == 66) {
            takeBrush(!brush);
        } else if (e.keyCode == 13) {
            stage.focus = input;
        } else if (e.keyCode == 32) {
            notify("dash");
        }
    }

    function clamp(value:Float, most:Float):Float {
        return Math.round(Math.min(Math.max(value, 0), most));
    }

    function addPoint() {
        waiting.push(clamp(world.mouseX, width));
        waiting.push(clamp(world.mouseY, height));
    }

    function sendPoints() {
        lastDraw = now();
        if (waiting.length == 0) return;
        var points = waiting.slice(0, 200);
        waiting = [];
        if (place == null) return;
        place.call("draw", [strokeNumber, BRUSH, points], function(_) {},
            function(fault) say("server", fault.message));
    }

    function steer() {
        var time = now();
        if (isDown) {
            addPoint();
            if (time - lastDraw >= DRAW_EVERY) sendPoints();
        }
        if (brush || time - lastAim < AIM_EVERY || game.state != "open") return;
        var aim = [clamp(world.mouseX, width), clamp(world.mouseY, height)];
        if ('$aim' == aimed) return;
        aimed = '$aim';
        lastAim = time;
        notify("aim", aim);
    }

    // What is shown.

    function frame() {
        var time = now();
        var stage = Lib.current.stage;
        var mine = people[me];
        for (person in people) person.move(time);
        if (mine != null && mine.seenAt > 0) {
            world.x += (stage.stageWidth / 2 - mine.x - world.x) * 0.2;
            world.y += (stage.stageHeight / 2 - mine.y - world.y) * 0.2;
        }
        steer();
        paintGrid();
        var g = scene.graphics;
        g.clear();
        var beat = 1 + 0.2 * Math.sin(time / 250);
        for (spark in sparks) {
            g.beginFill(0xffd36b, 0.16);
            g.drawCircle(spark[0], spark[1], 14 * beat);
            g.endFill();
            g.beginFill(0xfff3c4);
            g.drawCircle(spark[0], spark[1], 3.5);
            g.endFill();
        }
        for (id in people.keys()) {
            var person = people[id];
            if (person.isHere) person.draw(g, id == me);
            if (person.isHere && person.label == null) {
                person.label = label(12, color(person.hue));
                labels.addChild(person.label);
            }
            if (person.label == null) continue;
            person.label.visible = person.isHere;
            person.label.text = person.score > 0 ? '${person.name} · ${person.score}' : person.name;
            person.label.x = person.x - person.label.width / 2;
            person.label.y = person.y + 20;
        }
    }

    // Only the part in sight, so that it costs the same anywhere.
    function paintGrid() {
        var stage = Lib.current.stage;
        var left = -world.x, top = -world.y;
        var g = grid.graphics;
        g.clear();
        g.beginFill(0x0b0f20);
        g.drawRect(left, top, stage.stageWidth, stage.stageHeight);
        g.endFill();
        g.beginFill(0x10162e);
        var x0 = Math.max(0, left), y0 = Math.max(0, top);
        g.drawRect(x0, y0, Math.min(width, left + stage.stageWidth) - x0,
            Math.min(height, top + stage.stageHeight) - y0);
        g.endFill();
        g.lineStyle(1, 0x222b52, 0.6);
        var x = Math.ceil(x0 / 120) * 120;
        while (x <= Math.min(width, left + stage.stageWidth)) {
            g.moveTo(x, y0);
            g.lineTo(x, Math.min(height, top + stage.stageHeight));
            x += 120;
        }
        var y = Math.ceil(y0 / 120) * 120;
        while (y <= Math.min(height, top + stage.stageHeight)) {
            g.moveTo(x0, y);
            g.lineTo(Math.min(width, left + stage.stageWidth), y);
            y += 120;
        }
        g.lineStyle();
    }

    function paint() {
        isPainted = true;
        var g = board.graphics;
        g.clear();
        for (stroke in strokes) {
            g.lineStyle(stroke.width, color(stroke.hue), 0.75);
            var points = stroke.points;
            g.moveTo(points[0], points[1]);
            if (points.length == 2) g.lineTo(points[0] + 0.5, points[1]);
            var i = 2;
            while (i < points.length) {
                g.lineTo(points[i], points[i + 1]);
                i += 2;
            }
        }
    }

    function say(who:String, text:String) {
        chat.push('$who: $text');
        if (chat.length > CHAT_LINES) chat.shift();
        showChat();
    }

    function showChat() {
        chatText.text = chat.join("\n");
        chatText.x = 12;
        chatText.y = Lib.current.stage.stageHeight - 44 - chatText.height;
    }

    function showStatus() {
        status.text = game.state == "open" ? '#$room   ${Lambda.count(people)} here' : 'connecting again … (${game.state})';
    }

    // For the page, and its tests.
    function expose() {
        ExternalInterface.addCallback("central", function() {
            var mine = people[me];
            return haxe.Json.stringify({
                state: game.state, room: room, me: me,
                x: mine == null ? 0 : mine.x, y: mine == null ? 0 : mine.y,
                people: [for (person in people) person.name],
                seen: [for (person in people) if (person.isHere)
                    {name: person.name, x: person.x, y: person.y}],
                strokes: [for (stroke in strokes) stroke.points],
                sparks: Lambda.count(sparks), chat: chat,
            });
        });
        ExternalInterface.addCallback("say", function(text:String) notify("say", [text]));
    }
}
