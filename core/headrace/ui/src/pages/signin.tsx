import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { login, signedOut } from "../api";
import { Card, Notice, Page, told } from "../parts";

export function SignIn(): JSX.Element {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [error, setError] = useState("");
  const enter = async () => {
    setError("");
    try {
      await login(user, password);
      signedOut.value = false;
    } catch (failure) {
      setError(told(failure));
    }
  };
  return (
    <main id="main" class="signin">
      <Page title="Sign in" lead="This headrace wants to know who you are.">
        <Card>
          <form onSubmit={(event) => { event.preventDefault(); void enter(); }}>
            <div class="field"><label for="user">User</label><input id="user" type="text" autocomplete="username" required value={user} onInput={(event) => setUser(event.currentTarget.value)} /></div>
            <div class="field"><label for="password">Password</label><input id="password" type="password" autocomplete="current-password" required value={password} onInput={(event) => setPassword(event.currentTarget.value)} /></div>
            {error && <Notice>{error}</Notice>}
            <div class="buttons"><button type="submit" class="primary">Sign in</button></div>
          </form>
        </Card>
      </Page>
    </main>
  );
}
