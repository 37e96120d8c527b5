// Who looks at this, and what they may do. What they may not do is not offered; headrace would refuse it anyway.
import { computed, effect, signal } from "@preact/signals";
import { logout, signedOut, whoAmI, type Me } from "./api";
import { generation, status } from "./live";

export const me = signal<Me | null>(null);
/** May test, reconnect, replay and so on. */
export const mayAct = computed(() => me.value?.role === "admin");
/** May change the configuration. */
export const mayChange = computed(() => mayAct.value && !me.value?.read_only);
/** Why not, in a sentence. */
export const whyNot = computed(() =>
  me.value === null || mayChange.value ? "" : mayAct.value ? "The configuration is read-only here: change its files." : `${me.value.name} may look, and only an admin may change things.`,
);

effect(() => {
  void generation.value;
  if (signedOut.value) me.value = null;
  else void whoAmI().then((found) => (me.value = found), () => undefined);
});

export async function signOut(): Promise<void> {
  await logout();
  status.value = null;
  signedOut.value = true;
}
