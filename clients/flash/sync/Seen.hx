package sync;

import flash.errors.Error;
import flash.utils.Dictionary;
import sync.Types.Bytes;
import sync.Types.Field;
import sync.Types.Type;

/** An entity that the member sees. **/
typedef Entity = {number:Int, key:Dynamic, isMine:Bool, fields:Dynamic}

/** What there is to tell: `what` is "add", "remove" or "change". **/
typedef Told = {what:String, table:Table, entity:Entity, detail:Dynamic}

private typedef Entry = {number:Int, key:Dynamic, isMine:Null<Bool>, values:Array<Dynamic>}
private typedef Section = {table:Table, kind:Int, entries:Array<Entry>}

/** One of the tables of a state: a map, or the state's own fields. **/
class Table {
    public var name:String;
    public var keyType:Type; // null: it is the state's own fields
    public var fields:Array<Field>;
    public var privates:Array<Field>;
    public var all:Array<Field>;
    public var numbers = new Dictionary(); // Entities by number
    public var keys = new Dictionary();    // the same by "$" and the key
    public var count = 0;

    public function new(types:Types, declared:Dynamic, isRoot:Bool) {
        name = isRoot ? "" : declared.name;
        keyType = isRoot ? null : types.keys(declared.keys);
        fields = types.fields(declared.fields);
        privates = isRoot ? [] : types.fields(untyped declared["private"]);
        all = fields.concat(privates);
    }

    public inline function at(number:Int):Entity {
        return untyped numbers[number];
    }

    public inline function byKey(key:Dynamic):Entity {
        return untyped keys["$" + key];
    }

    public function list():Array<Entity> {
        var entities:Array<Entity> = [];
        for (number in (untyped __keys__(numbers) : Array<Dynamic>)) entities.push(at(number));
        return entities;
    }

    public function put(entity:Entity) {
        untyped numbers[entity.number] = entity;
        untyped keys["$" + entity.key] = entity;
        count++;
    }

    public function take(entity:Entity) {
        untyped __delete__(numbers, entity.number);
        untyped __delete__(keys, "$" + entity.key);
        count--;
    }

    public function reset(object:Dynamic, list:Array<Field>) {
        for (field in list) Reflect.setField(object, field.name, field.type.first());
    }

    public function make(number:Int, key:Dynamic, isMine:Bool, values:Array<Dynamic>):Entity {
        var made:Dynamic = {};
        reset(made, all);
        set(made, values);
        return {number: number, key: key, isMine: isMine, fields: made};
    }

    // Returns the names.
    public function set(object:Dynamic, values:Array<Dynamic>):Array<String> {
        var names:Array<String> = [];
        var i = 0;
        while (i < values.length) {
            var field:Field = values[i];
            Reflect.setField(object, field.name, values[i + 1]);
            names.push(field.name);
            i += 2;
        }
        return names;
    }

    public function field(name:String):Field {
        for (one in all) if (one.name == name) return one;
        throw new Error("there is no such field");
    }
}

// Whether what is read of a table fits what is there.
private class Fit {
    var table:Table;
    var isSnapshot:Bool;
    var there = new Dictionary(); // by number: what the patch has made of it so far
    var taken = new Dictionary(); // by "$" and the key

    public function new(table:Table, isSnapshot:Bool) {
        this.table = table;
        this.isSnapshot = isSnapshot;
    }

    function has(number:Int):Bool {
        if (untyped __in__(number, there)) return untyped there[number];
        return !isSnapshot && table.at(number) != null;
    }

    function isTaken(key:Dynamic):Bool {
        var other = table.byKey(key);
        return untyped __in__("$" + key, taken) ||
            other != null && untyped !__in__(other.number, there) && has(other.number);
    }

    public function check(kind:Int, entry:Entry) {
        if (table.keyType == null && entry.number != 0) throw new Error("a number is too large");
        if (has(entry.number) == Seen.isAdd(kind)) throw new Error("it does not fit what is there");
        if (Seen.isAdd(kind)) {
            if (isTaken(entry.key)) throw new Error("a key is there already");
            untyped taken["$" + entry.key] = true;
        }
        if (kind != Seen.CHANGE) untyped there[entry.number] = Seen.isAdd(kind);
    }
}

/**
    What a member has of a room's state. A patch is read and checked whole before anything of it
    is done: of one that is refused, by an Error, nothing is. docs/state.md is the wire.
**/
class Seen {
    static inline var GONE = 0;
    static inline var NEW = 2;
    static inline var SEEN = 3;
    public static inline var CHANGE = 4;
    static inline var MOST_NUMBER = 1048575;

    public var tables:Array<Table>;
    public var root:Entity; // the state's own fields, which are there always
    public var tick = 0.;
    public var input = 0.;
    public var isEmpty = true;

    // An entity that the member had not: a new one, or one that comes into sight.
    public static inline function isAdd(kind:Int):Bool {
        return kind == NEW || kind == SEEN;
    }

    public function new(declared:Dynamic) {
        var types = new Types();
        var maps:Array<Dynamic> = declared.maps == null ? [] : declared.maps;
        tables = [new Table(types, declared, true)].concat(
            [for (map in maps) new Table(types, map, false)]);
        root = tables[0].make(0, "", false, []);
    }

    /**
        Does what a patch says. Returns what there is to tell, in order.
    **/
    public function apply(head:Head):Array<Told> {
        var isSnapshot:Bool = head.isSnapshot;
        if (isEmpty && !isSnapshot) throw new Error("the first patch is a snapshot");
        var sections = head.bytes == null ? fromObject(head.object) : fromBytes(head.bytes);
        check(sections, isSnapshot);
        var told:Array<Told> = [];
        if (isSnapshot) replaceAll(sections, told) else applyAll(sections, told);
        tick = head.tick;
        input = head.input;
        isEmpty = false;
        return told;
    }

    function check(sections:Array<Section>, isSnapshot:Bool) {
        var fits = new Dictionary();
        for (section in sections) {
            if (isSnapshot && !isAdd(section.kind)) throw new Error("a snapshot holds adds alone");
            var fit:Fit = untyped fits[section.table];
            if (fit == null) untyped fits[section.table] = fit = new Fit(section.table, isSnapshot);
            for (entry in section.entries) fit.check(section.kind, entry);
        }
    }

    // The binary form

    function readFields(bytes:Bytes, fields:Array<Field>, values:Array<Dynamic>):Bool {
        var mask = [for (i in 0...((fields.length >> 3) + 1)) (bytes.data.readUnsignedByte() : Int)];
        for (bit in 1...mask.length * 8) {
            if (mask[bit >> 3] & 1 << (bit & 7) == 0) continue;
            if (bit > fields.length) throw new Error("a bit stands for no field");
            values.push(fields[bit - 1]);
            values.push(fields[bit - 1].type.read(bytes));
        }
        return mask[0] & 1 == 1;
    }

    function readEntry(bytes:Bytes, table:Table, kind:Int, number:Int):Entry {
        var entry:Entry = {number: number, key: "", isMine: null, values: []};
        if (kind < NEW) return entry;
        if (isAdd(kind) && table.keyType != null) entry.key = table.keyType.read(bytes);
        if (!readFields(bytes, table.fields, entry.values)) return entry;
        var before = entry.values.length;
        entry.isMine = readFields(bytes, table.privates, entry.values);
        if (!entry.isMine && (isAdd(kind) || entry.values.length > before)) {
            throw new Error("private fields of an entity that is another's");
        }
        return entry;
    }

    function fromBytes(bytes:Bytes):Array<Section> {
        var sections:Array<Section> = [];
        var before = -1.;
        while (bytes.data.bytesAvailable > 0) {
            var head = bytes.varint();
            if (head <= before) throw new Error("sections do not ascend");
            if (head >= tables.length * 8) throw new Error("there is no such table");
            before = head;
            var table = tables[Std.int(head) >> 3];
            var kind = Std.int(head) & 7;
            if (kind > CHANGE) throw new Error("there is no such kind of section");
            var count = bytes.count();
            if (count == 0) throw new Error("a section is empty");
            var number = -1.;
            var entries:Array<Entry> = [];
            for (i in 0...count) {
                number += bytes.varint() + 1;
                if (number > MOST_NUMBER) throw new Error("an entity's number is too large");
                entries.push(readEntry(bytes, table, kind, Std.int(number)));
            }
            sections.push({table: table, kind: kind, entries: entries});
        }
        return sections;
    }

    // JSON

    function entryOf(table:Table, kind:Int, one:Dynamic):Entry {
        var list:Array<Dynamic> = kind < NEW ? [one] : one;
        if (!untyped __is__(list, Array)) throw new Error("an entry is none");
        if (!(untyped __is__(list[0], Int) && list[0] >= 0 && list[0] <= MOST_NUMBER)) {
            throw new Error("a number is none");
        }
        var entry:Entry = {number: list[0], key: "", isMine: null, values: []};
        if (kind < NEW) return entry;
        if (isAdd(kind) && table.keyType != null) entry.key = table.keyType.from(list[1]);
        var fields:Dynamic = list[isAdd(kind) ? 2 : 1];
        var isMine:Dynamic = list[isAdd(kind) ? 3 : 2];
        if (isMine == true || isMine == false) entry.isMine = isMine;
        else if (isMine != null) throw new Error("true or false is neither");
        if (fields == null) throw new Error("fields are no object");
        for (name in Reflect.fields(fields)) {
            var field = table.field(name);
            entry.values.push(field);
            entry.values.push(field.type.from(Reflect.field(fields, name)));
        }
        return entry;
    }

    function fromObject(object:Dynamic):Array<Section> {
        var sections:Array<Section> = [];
        var names = ["gone", "hidden", "new", "seen", "change"];
        for (kind in 0...names.length) {
            var lists:Dynamic = Reflect.field(object, names[kind]);
            if (lists == null) continue;
            for (name in Reflect.fields(lists)) {
                var list:Array<Dynamic> = Reflect.field(lists, name);
                if (!untyped __is__(list, Array)) throw new Error("a list is none");
                var table = tableOf(name);
                sections.push({table: table, kind: kind,
                    entries: [for (one in list) entryOf(table, kind, one)]});
            }
        }
        return sections;
    }

    function tableOf(name:String):Table {
        for (table in tables) if (table.name == name) return table;
        throw new Error("there is no such table");
    }

    // What is done

    function applyAll(sections:Array<Section>, told:Array<Told>) {
        for (section in sections) {
            var table = section.table;
            for (entry in section.entries) {
                if (isAdd(section.kind)) add(table, made(table, entry), section.kind, told);
                else if (section.kind == CHANGE) change(table, table.at(entry.number), entry, told);
                else {
                    remove(table, table.at(entry.number),
                        section.kind == GONE ? "gone" : "hidden", told);
                }
            }
        }
    }

    function made(table:Table, entry:Entry):Entity {
        return table.make(entry.number, entry.key, entry.isMine == true, entry.values);
    }

    function add(table:Table, entity:Entity, kind:Int, told:Array<Told>) {
        if (table.keyType == null) { // users hold its fields
            for (field in table.all) {
                Reflect.setField(root.fields, field.name, Reflect.field(entity.fields, field.name));
            }
            entity = root;
        }
        table.put(entity);
        told.push({what: "add", table: table, entity: entity, detail: kind == NEW ? "new" : "seen"});
    }

    function remove(table:Table, entity:Entity, why:String, told:Array<Told>) {
        table.take(entity);
        if (entity == root) table.reset(root.fields, table.all);
        told.push({what: "remove", table: table, entity: entity, detail: why});
    }

    function change(table:Table, entity:Entity, entry:Entry, told:Array<Told>) {
        if (entry.isMine != null) entity.isMine = entry.isMine;
        if (entry.isMine == false) table.reset(entity.fields, table.privates);
        told.push({what: "change", table: table, entity: entity,
            detail: table.set(entity.fields, entry.values)});
    }

    // What isn't in a snapshot may have gone, or not: it is out of sight. But what has given its
    // number to another has gone.
    function replaceAll(sections:Array<Section>, told:Array<Told>) {
        for (table in tables) {
            var wanted = new Dictionary();
            var mine = [for (section in sections) if (section.table == table) section];
            for (section in mine) {
                for (entry in section.entries) {
                    untyped wanted[entry.number] = {key: entry.key, isNew: section.kind == NEW};
                }
            }
            for (entity in table.list()) {
                var other:Dynamic = untyped wanted[entity.number];
                if (other == null) remove(table, entity, "hidden", told);
                else if (other.isNew || "" + other.key != "" + entity.key) {
                    remove(table, entity, "gone", told);
                }
            }
            for (section in mine) {
                for (entry in section.entries) {
                    var entity = table.at(entry.number);
                    if (entity == null) add(table, made(table, entry), section.kind, told);
                    else assign(table, entity, made(table, entry), told);
                }
            }
        }
    }

    function assign(table:Table, entity:Entity, other:Entity, told:Array<Told>) {
        var names:Array<String> = [];
        for (field in table.all) {
            var value = Reflect.field(other.fields, field.name);
            if (same(Reflect.field(entity.fields, field.name), value)) continue;
            Reflect.setField(entity.fields, field.name, value);
            names.push(field.name);
        }
        if (names.length > 0 || entity.isMine != other.isMine) {
            told.push({what: "change", table: table, entity: entity, detail: names});
        }
        entity.isMine = other.isMine;
    }

    function same(a:Dynamic, b:Dynamic):Bool {
        if (untyped __typeof__(a) != "object" || a == null) return a == b;
        if (untyped __is__(a, Array)) {
            if (a.length != b.length) return false;
            for (i in 0...(a.length : Int)) if (!same(a[i], b[i])) return false;
            return true;
        }
        var names = Reflect.fields(a);
        if (names.length != Reflect.fields(b).length) return false;
        for (name in names) if (!same(Reflect.field(a, name), Reflect.field(b, name))) return false;
        return true;
    }
}
