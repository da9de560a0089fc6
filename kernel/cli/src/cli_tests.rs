//! The command line can say what users say, and says what is wrong.
use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_command_is_well_formed() {
    command().debug_assert();
}

#[test]
fn what_users_say_is_understood() {
    for line in [
        "sampan get po,deploy -A -o wide",
        "sampan get pods -n team -l app=web --sort-by=.metadata.name -w",
        "sampan -n team get deploy/web -o jsonpath={.spec.replicas}",
        "sampan apply -f a.yaml -f b.yaml -R --dry-run=server",
        "sampan apply -f a.yaml --dry-run",
        "sampan create namespace team",
        "sampan create deployment web --image=web:1 --replicas=3 --port=8080 -- /server --verbose",
        "sampan create secret generic s --from-literal=a=b --from-file=c",
        "sampan create job once --image=x",
        "sampan delete pod web --grace-period=0 --force",
        "sampan delete -f a.yaml --wait=false",
        "sampan logs -f deploy/web --tail=-1 --since=5m -c main",
        "sampan scale deploy/web --replicas=3",
        "sampan rollout undo deploy/web --to-revision=2",
        "sampan rollout status deploy web --watch=false",
        "sampan wait --for=condition=Available deploy/web --timeout=60s",
        "sampan drain n1 --ignore-daemonsets --delete-emptydir-data --grace-period=-1",
        "sampan label pods --all a=b c-",
        "sampan annotate deploy/web note=x --overwrite",
        "sampan patch deploy/web --type=merge -p {}",
        "sampan plugin load x.wasm --name mine --shadow",
        "sampan plugin load x.wasm --config /x --world network --slot routes --plugin-config {}",
        "sampan image build ./x -t web:1 --entrypoint /server -e A=b",
        "sampan image load -i x.tar",
        "sampan config set-context --current --namespace=team",
        "sampan completion zsh",
        "sampan events --for=deploy/web -w",
        "sampan certificate list -o wide",
        "sampan certificate show --context lab -o yaml",
        "sampan certificate renew node/n1",
        "sampan certificate renew --data-dir /var/lib/sampan",
        "sampan snapshot save --force x.snap",
        "sampan snapshot save -",
        "sampan snapshot inspect x.snap -o json",
        "sampan snapshot restore x.snap --data-dir /x --name a --cluster-name b",
        "sampan up --force-new-cluster",
        "sampan up --cluster-cidr 10.42.0.0/16,fd42::/56 --service-cidr 10.96.0.0/12,fd96::/112",
        "sampan up --pod-cidr 10.50.0.0/16 --metrics 127.0.0.1:9444",
        "sampan __wasm --spec x",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn slips_get_a_hint() {
    let error = parse("sampan aply -f x").unwrap_err().to_string();
    assert!(error.contains("apply"), "{error}");
    let error = parse("sampan get pods -o yml").unwrap_err().to_string();
    assert!(error.contains("did you mean \"yaml\""), "{error}");
    let error = parse("sampan up --pod-cidr 10.42.4.7/24").unwrap_err().to_string();
    assert!(error.contains("did you mean 10.42.4.0/24?"), "{error}");
    let error = parse("sampan up --metrics 0.0.0.0:9444").unwrap_err().to_string();
    assert!(error.contains("for this machine alone"), "{error}");
    let error = parse("sampan wait pod/x --for=ready").unwrap_err().to_string();
    assert!(error.contains("condition=NAME"), "{error}");
}

#[test]
fn every_command_has_an_example() {
    fn walk(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
        for sub in command
            .get_subcommands()
            .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
        {
            let path = format!("{path} {}", sub.get_name());
            let example = sub
                .get_after_help()
                .is_some_and(|help| help.to_string().contains("sampan "));
            if !example && !sub.has_subcommands() {
                missing.push(path.clone());
            }
            if sub.get_about().is_none() {
                missing.push(format!("{path} (about)"));
            }
            walk(sub, &path, missing);
        }
    }
    let mut missing = Vec::new();
    walk(&command(), "sampan", &mut missing);
    assert!(missing.is_empty(), "no example: {missing:?}");
}
