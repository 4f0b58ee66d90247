// A Flash movie with one XMLSocket, led by its page through ExternalInterface, that shows a
// log of what it got.
//
// The page calls socketConnect(host, port), socketSend(text) and socketClose(). The movie
// calls the page's movieEvent(type, text) with what happens: ready, connect, data, close,
// ioError, securityError.

import flash.Lib;
import flash.display.StageAlign;
import flash.display.StageScaleMode;
import flash.events.DataEvent;
import flash.events.Event;
import flash.events.IOErrorEvent;
import flash.events.SecurityErrorEvent;
import flash.external.ExternalInterface;
import flash.net.XMLSocket;
import flash.text.TextField;
import flash.text.TextFormat;

class XmlSocketClient {
    static inline var LINES = 20;
    static inline var COLUMNS = 64;

    var socket = new XMLSocket();
    var log = new TextField();
    var lines:Array<String> = [];

    static function main() {
        new XmlSocketClient();
    }

    function new() {
        showLog();
        socket.addEventListener(Event.CONNECT, function(_) happened("connect", ""));
        socket.addEventListener(Event.CLOSE, function(_) happened("close", ""));
        socket.addEventListener(DataEvent.DATA, function(e:DataEvent) happened("data", e.data));
        socket.addEventListener(IOErrorEvent.IO_ERROR,
            function(e:IOErrorEvent) happened("ioError", e.text));
        socket.addEventListener(SecurityErrorEvent.SECURITY_ERROR,
            function(e:SecurityErrorEvent) happened("securityError", e.text));
        ExternalInterface.addCallback("socketConnect", socket.connect);
        ExternalInterface.addCallback("socketSend", socket.send);
        ExternalInterface.addCallback("socketClose", close);
        happened("ready", "");
    }

    // An XMLSocket tells only of closes that it didn't begin.
    function close() {
        socket.close();
        note("closed by the page");
    }

    function happened(type:String, text:String) {
        note(type + (type == "data" ? " " + text.length + ": " : " ") + text);
        ExternalInterface.call("movieEvent", type, text);
    }

    function showLog() {
        var stage = Lib.current.stage;
        stage.scaleMode = StageScaleMode.NO_SCALE;
        stage.align = StageAlign.TOP_LEFT;
        log.defaultTextFormat = new TextFormat("_typewriter", 14, 0x1c3d5a);
        log.x = log.y = 8;
        log.width = stage.stageWidth - 16;
        log.height = stage.stageHeight - 16;
        log.selectable = false;
        log.multiline = true;
        Lib.current.addChild(log);
    }

    function note(line:String) {
        line = ~/[\r\n\t]/g.replace(line, " ");
        lines.push(line.length > COLUMNS ? line.substr(0, COLUMNS - 3) + "..." : line);
        if (lines.length > LINES) lines.shift();
        log.text = lines.join("\n");
    }
}
