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
    public var seenAt = -1e9; // ms; not in sight when long ago
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
        var fresh = now - seenAt > 1000;
        from = fresh ? [x, y, now - 1] : to;
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
    public var member:Int;
    public var number:Int;
    public var serial:Int;
    public var hue:Int;
    public var width:Int;
    public var points:Array<Float>;

    public function new(member, number, hue, width, points, serial) {
        this.member = member;
        this.number = number;
        this.hue = hue;
        this.width = width;
        this.points = points;
        this.serial = serial;
    }
}

class Central {
    public static inline var BEHIND = 130; // ms that others are shown behind
    static inline var CHAT_LINES = 7;
    static inline var AIM_EVERY = 50; // ms
    static inline var DRAW_EVERY = 60;
    static inline var BRUSH = 4;

    var game:sync.Client;
    var room = "lobby";
    var name = "flash";
    var me = 0;
    var count = 0;
    var people:Map<Int, Person> = [];
    var sparks:Array<Array<Float>> = [];
    var strokes:Array<Stroke> = [];
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
        game.on("onJoin", function(id:Int, name:String, hue:Int) people[id] = new Person(name, hue));
        game.on("onLeave", leave);
        game.on("onRename", function(id:Int, name:String) {
            if (people[id] != null) people[id].name = name;
        });
        game.on("onSay", function(id:Int, name:String, hue:Int, text:String) say(name, text));
        game.on("onDraw", draw);
        game.on("onErase", function(id:Int) {
            strokes = strokes.filter(function(each) return each.member != id);
            paint();
        });
        game.on("onForget", function(first:Int) {
            strokes = strokes.filter(function(each) return each.serial >= first);
            paint();
        });
        game.on("onPulse", function(total:Int, best:Dynamic, dots:String) {
            count = total;
            showStatus();
        });
        game.on("s", snapshot);
    }

    function join() {
        game.call("join", [room, name, 45], function(state:Dynamic) {
            for (id in [for (id in people.keys()) id]) leave(id);
            me = state.you;
            width = state.width;
            height = state.height;
            for (each in (state.people:Array<Dynamic>)) people[each[0]] = new Person(each[1], each[2]);
            strokes = [for (each in (state.board:Array<Dynamic>))
                new Stroke(each[0], each[1], each[2], each[3], each[4], each[5])];
            chat = [];
            for (line in (state.chat:Array<Dynamic>)) say(line.name, line.text);
            count = state.people.length;
            paint();
            showStatus();
        }, function(fault) say("server", fault.message));
    }

    function leave(id:Int) {
        var person = people[id];
        if (person == null) return;
        if (person.label != null) labels.removeChild(person.label);
        people.remove(id);
    }

    function draw(id:Int, number:Int, hue:Int, width:Int, points:Array<Float>, serial:Int) {
        var last = null;
        for (stroke in strokes) {
            if (stroke.member == id && stroke.serial == serial) last = stroke;
        }
        if (last == null) {
            last = new Stroke(id, number, hue, width, [], serial);
            strokes.push(last);
        }
        last.points = last.points.concat(points);
        paint();
    }

    // "id,x,y,score,dash;…|id,x,y;…", a line for each cell in sight.
    function snapshot(tick:Int, text:String) {
        var time = now();
        sparks = [];
        for (line in text.split("\n")) {
            var halves = line.split("|");
            if (halves.length < 2) continue;
            for (part in halves[0].split(";")) {
                var fields = part.split(",");
                var person = people[Std.parseInt(fields[0])];
                if (fields.length < 5 || person == null) continue;
                person.see(Std.parseFloat(fields[1]), Std.parseFloat(fields[2]), time);
                person.score = Std.parseInt(fields[3]);
                person.dashing = fields[4] == "1";
            }
            for (part in halves[1].split(";")) {
                var fields = part.split(",");
                if (fields.length == 3) {
                    sparks.push([Std.parseFloat(fields[1]), Std.parseFloat(fields[2])]);
                }
            }
        }
    }

    // The person in front of it.

    function press(e:MouseEvent) {
        if (e.target == input || e.target == brushButton) return;
        Lib.current.stage.focus = null;
        if (!brush) {
            game.notify("dash");
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
                game.notify("say", [input.text]);
                input.text = "";
            }
        } else if (e.keyCode == 66) {
            takeBrush(!brush);
        } else if (e.keyCode == 13) {
            stage.focus = input;
        } else if (e.keyCode == 32) {
            game.notify("dash");
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
        var person = people[me];
        var number = strokeNumber;
        game.call("draw", [number, BRUSH, points], function(serial:Int) {
            if (person != null) draw(me, number, person.hue, BRUSH, points, serial);
        }, function(fault) say("server", fault.message));
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
        game.notify("aim", aim);
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
            var isHere = time - person.seenAt < 1000;
            if (isHere) person.draw(g, id == me);
            if (isHere && person.label == null) {
                person.label = label(12, color(person.hue));
                labels.addChild(person.label);
            }
            if (person.label == null) continue;
            person.label.visible = isHere;
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
        status.text = game.state == "open" ? '#$room   $count here' : 'connecting again … (${game.state})';
    }

    // For the page, and its tests.
    function expose() {
        ExternalInterface.addCallback("central", function() {
            var mine = people[me];
            return haxe.Json.stringify({
                state: game.state, room: room, me: me,
                x: mine == null ? 0 : mine.x, y: mine == null ? 0 : mine.y,
                people: [for (person in people) person.name],
                seen: [for (person in people) if (now() - person.seenAt < 1000)
                    {name: person.name, x: person.x, y: person.y}],
                strokes: [for (stroke in strokes) stroke.points],
                sparks: sparks.length, chat: chat,
            });
        });
        ExternalInterface.addCallback("say", function(text:String) game.notify("say", [text]));
    }
}
