// Other versions of the script, right and wrong ones, by reload and by upgrade.

import {ROUNDS, pick} from "./common.mjs";

export async function reload({hosts, random, herald}) {
  const host = pick(random, hosts);
  const since = host.log.mark();
  host.writeScript();
  const {code, said} = await host.tell("reload");
  if (code !== 0) throw new Error(`reload: ${said}`);
  await herald.rounds(ROUNDS);
  if (!/version \d+/.test(since())) throw new Error("the log tells of no other version");
  return said.trim();
}

export async function upgrade({hosts, random, herald}) {
  const host = pick(random, hosts);
  host.writeScript();
  const text = await host.upgrade();
  await herald.rounds(ROUNDS);
  return text;
}

// The old version goes on.
async function badVersion({hosts, random, herald}, command) {
  const host = pick(random, hosts);
  host.log.expected.push(/this version can't be loaded|ended before it was ready|the new script can't begin/);
  host.writeScript(`error "this version can't be loaded"\n`);
  const {code, said} = await host.tell(command);
  host.writeScript();
  if (code === 0) throw new Error(`${command} took a version with an error: ${said}`);
  await herald.rounds(ROUNDS);
  return said.trim().split("\n")[0];
}

export const badReload = chaos => badVersion(chaos, "reload");
export const badUpgrade = chaos => badVersion(chaos, "upgrade");
